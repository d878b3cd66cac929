"""One table of every refusal: its stable code, exit status, cause and way out.

A code is an interface: scripts match it, the console shows it, `boot.json` stores it. It is never
renamed; a new cause gets a new code. docs/errors.md is made from this table.
"""

from __future__ import annotations

from .values import NamedTuple

# Exit statuses of the command line. One per kind of trouble, so that a pipeline can tell
# "your input is wrong" from "the package is not what was signed" without reading text.
EXIT_FAILED = 1  # something outside failed (a program, the kernel, the disk)
EXIT_USAGE = 2  # the command's own words are wrong (click's number)
EXIT_INPUT = 3  # a file that a person wrote or named is wrong
EXIT_UNTRUSTED = 4  # a signature, a digest or a rule of trust does not hold
EXIT_PLAN = 5  # the plan says that this root would not boot
EXIT_INTERRUPTED = 130  # Ctrl-C or SIGTERM; nothing half-written is left


class Code(NamedTuple):
    """What a code means: `status` is the exit status, the rest is text for docs/errors.md."""

    status: int
    cause: str
    way_out: str


# Sorted by code.
CODES: dict[str, Code] = {
    "agent-failed": Code(
        EXIT_FAILED,
        "The agent met something that it does not know.",
        "This is a mistake in bootunion: please report it with the sentence.",
    ),
    "approval-unmatched": Code(
        EXIT_INPUT,
        "An entry of `approve` in the system.yaml approves a shadowing that is not there.",
        "Take the entry out, or correct it: `bootunion plan` shows what hides what.",
    ),
    "apt-failed": Code(
        EXIT_FAILED,
        "apt could not resolve or download the packages.",
        "Read apt's words; often a misspelt package or no network.",
    ),
    "architecture-mismatch": Code(
        EXIT_UNTRUSTED,
        "The list was made for another machine architecture.",
        "Use a list that was composed for this architecture.",
    ),
    "below-floor": Code(
        EXIT_UNTRUSTED,
        "The generation is lower than the floor of a list that this machine has booted.",
        "Boot a newer generation; a floor is there to keep withdrawn ones from coming back.",
    ),
    "cmdline-invalid": Code(
        EXIT_INPUT,
        "A bootunion parameter on the kernel command line has no valid value.",
        "Correct it; bootunion's parameters are in docs/kernel-command-line.md.",
    ),
    "contents-invalid": Code(
        EXIT_INPUT,
        "A package's contents file is not what the manifest describes.",
        "Import or build the package again.",
    ),
    "contents-mismatch": Code(
        EXIT_UNTRUSTED,
        "A contents file's size or digest differs from the signed manifest.",
        "Fetch the contents file again, or import the package again.",
    ),
    "deb-invalid": Code(
        EXIT_INPUT,
        "A file is not a Debian package, or a damaged one.",
        "Download it again.",
    ),
    "device-mismatch": Code(
        EXIT_UNTRUSTED,
        "A layer of the running root is not on the dm-verity device that its list asks for.",
        "Restart the machine, and find out who replaced the device: only root can.",
    ),
    "device-timeout": Code(
        EXIT_FAILED,
        "The device named by bootunion.store= did not appear in time.",
        "Check the device and its name; bootunion.timeout= gives it more seconds.",
    ),
    "disk-full": Code(
        EXIT_FAILED,
        "There is no space left where the result would be written.",
        "Free space, or choose another store or TMPDIR.",
    ),
    "envelope-invalid": Code(
        EXIT_UNTRUSTED,
        "A signed file is not a DSSE envelope in the strict form that bootunion reads.",
        "Write the file again with `bootunion sign`; a damaged store needs a new copy.",
    ),
    "environment-invalid": Code(
        EXIT_INPUT,
        "An environment variable that bootunion reads has an impossible value.",
        "Correct it, or take it out of the environment.",
    ),
    "exists": Code(
        EXIT_INPUT,
        "A file that would be written is already there with other content.",
        "Choose another name, or take the old one away first.",
    ),
    "file-changed": Code(
        EXIT_UNTRUSTED,
        "A package file's size differs from the signed list.",
        "Fetch or copy the package into the store again.",
    ),
    "file-invalid": Code(
        EXIT_UNTRUSTED,
        "A name in the store is not a regular file (a link, a directory, a pipe, a device).",
        "Put the real file in its place.",
    ),
    "file-missing": Code(
        EXIT_FAILED,
        "A file that is needed is not there.",
        "Fetch or copy it; `bootunion verify` lists everything that a list needs.",
    ),
    "file-too-large": Code(
        EXIT_UNTRUSTED,
        "A file is larger than its kind may be, so it was not read.",
        "Replace it: no valid file of this kind is that large.",
    ),
    "hash-mismatch": Code(
        EXIT_UNTRUSTED,
        "What a source gives has none of the SHA-256 digests that the project asks for.",
        "Lock the project again, when the new file is meant; otherwise find out who changed it.",
    ),
    "hashes-missing": Code(
        EXIT_INPUT,
        "A project's requirement names no version or no SHA-256 digest.",
        "Lock it with `uv lock`, or with --generate-hashes of `uv pip compile` or `pip-compile`.",
    ),
    "helper-busy": Code(
        EXIT_FAILED,
        "The helper serves as many requests at once as it may, in all or for this user.",
        "Try again in a moment.",
    ),
    "helper-failed": Code(
        EXIT_FAILED,
        "The helper gave no tree and no reason that can be believed.",
        "Read its words: `journalctl -u bootunion-helper`.",
    ),
    "helper-missing": Code(
        EXIT_FAILED,
        "Nobody listens at the helper's socket.",
        "As root: `systemctl enable --now bootunion-helper.socket`.",
    ),
    "helper-request-invalid": Code(
        EXIT_INPUT,
        "The helper was asked for something that it does not do.",
        "Name a list as NAME or NAME@GENERATION, packages as NAME, NAME=VERSION or by root hash.",
    ),
    "helper-unions-kept": Code(
        EXIT_FAILED,
        "A user keeps as many unions of the helper's as one user may.",
        "End programs that run in such roots, or ask for single packages.",
    ),
    "hooks-conflict": Code(
        EXIT_INPUT,
        "A file that install-hooks would write or remove is not its own, or lies outside the root.",
        "Remove the package or file that is in the way, or leave that component out.",
    ),
    "hooks-missing": Code(
        EXIT_INPUT,
        "This installation of bootunion does not hold the files of a component.",
        "Install the distribution's package that has them, or bootunion from a wheel.",
    ),
    "hooks-record": Code(
        EXIT_INPUT,
        "The record of what install-hooks installed cannot be read.",
        "Restore it from a backup, or remove it and the installed files by hand.",
    ),
    "io-failed": Code(
        EXIT_FAILED,
        "The system refused to read or write a file or directory.",
        "Read the cause; often the file belongs to another user, or the disk is read-only.",
    ),
    "json-invalid": Code(
        EXIT_UNTRUSTED,
        "Text is not JSON in the strict form (no duplicate keys, no floats, bounded depth).",
        "Write the file again with bootunion.",
    ),
    "kernel-call": Code(
        EXIT_FAILED,
        "The kernel refused a system call of the plan.",
        "Read the cause; often a module (loop, dm-verity, squashfs, erofs, overlay) is missing.",
    ),
    "kernel-mismatch": Code(
        EXIT_UNTRUSTED,
        "The list was made for another kernel release than the one that runs.",
        "Boot the kernel of the list, or compose the list again for this kernel.",
    ),
    "kernel-too-old": Code(
        EXIT_PLAN,
        "The list's kernel cannot mount packages of its format.",
        "Compose with another `format`: `erofs` and `squashfs` work everywhere; or a newer kernel.",
    ),
    "key-encrypted": Code(
        EXIT_INPUT,
        "A private key is encrypted, and bootunion asks for no passphrase.",
        "Decrypt it with `openssl pkey` for the time of signing, or use --sign-command.",
    ),
    "index-differs": Code(
        EXIT_UNTRUSTED,
        "A list's index is not the one that follows from its packages.",
        "Compose the list again; who signs an index that shows other files deceives you.",
    ),
    "index-impossible": Code(
        EXIT_INPUT,
        "An index cannot point into a package's image: it is compressed, or no EROFS.",
        "Make the package with `--format erofs-uncompressed`.",
    ),
    "index-unsupported": Code(
        EXIT_FAILED,
        "The kernel has no EROFS, or none that takes several devices (Linux 5.16 and later do).",
        "Boot a newer kernel, or list at most 500 packages: they boot without the index.",
    ),
    "file-mount-unsupported": Code(
        EXIT_FAILED,
        "The kernel does not mount an EROFS from a file, without a block device.",
        "Nothing: the package is opened through a loop device and dm-verity instead.",
    ),
    "key-invalid": Code(
        EXIT_INPUT,
        "A file does not hold an Ed25519 key in PEM.",
        "Make one with `bootunion keygen`.",
    ),
    "key-published": Code(
        EXIT_UNTRUSTED,
        "A trust store names a key whose private half is in a standard or in a well-known test.",
        "Make keys of your own with `bootunion keygen`.",
    ),
    "layers-too-many": Code(
        EXIT_PLAN,
        "A process root of more layers than one overlay takes was asked for.",
        "Leave packages out (`--without`), or use `--pure` with a shorter list.",
    ),
    "list-expired": Code(
        EXIT_UNTRUSTED,
        "The list's expiry lies in the past.",
        "Compose and sign a new generation.",
    ),
    "list-invalid": Code(
        EXIT_UNTRUSTED,
        "A system list has a missing, unknown or impossible field.",
        "Compose the list again with this version of bootunion.",
    ),
    "list-misplaced": Code(
        EXIT_UNTRUSTED,
        "A list's signed name or generation is not the one it is stored under.",
        "Put the file where its own name says, or fetch the right one.",
    ),
    "list-missing": Code(
        EXIT_FAILED,
        "The store has no list of that name or generation.",
        "Check bootunion= and the store's lists/ directory.",
    ),
    "login-namespace": Code(
        EXIT_FAILED,
        "A session's root was to be made where no session has mounts of its own.",
        "Let pam_namespace run login-root, as docs/logins.md says; the session was refused.",
    ),
    "manifest-invalid": Code(
        EXIT_UNTRUSTED,
        "A manifest has a missing, unknown or impossible field.",
        "Import or build the package again.",
    ),
    "manifest-mismatch": Code(
        EXIT_UNTRUSTED,
        "A manifest and the list do not describe the same package.",
        "Compose the list again from the packages that are in the store.",
    ),
    "member-invalid": Code(
        EXIT_INPUT,
        "A package has a path or an attribute that no package may have.",
        "The package's maker must change it; bootunion leaves nothing out silently.",
    ),
    "name-invalid": Code(
        EXIT_INPUT,
        "A name or version has a character that a package name may not have.",
        "Use letters, digits and . + ~ - _ : only; never a slash or `..`.",
    ),
    "namespace-mismatch": Code(
        EXIT_UNTRUSTED,
        "The packages' contents do not make the merged namespace whose digest the list signs.",
        "Compose the list again; it and its packages do not belong together.",
    ),
    "no-generation-left": Code(
        EXIT_FAILED,
        "No generation of the list may or can be booted.",
        "Each refusal has its own way out; `bootunion doctor` reads the reports in the store.",
    ),
    "not-booted": Code(
        EXIT_FAILED,
        "This system was not booted from a list.",
        "Run it on a machine that bootunion's agent has booted.",
    ),
    "overlay-marker": Code(
        EXIT_INPUT,
        "A package has a whiteout or an attribute that steers overlayfs.",
        "The package's maker must take it out: it would hide or replace other packages' files.",
    ),
    "path-conflict": Code(
        EXIT_INPUT,
        "A package has one path twice, or a file below something that is no directory.",
        "The package's maker must change it; on a merged /usr, /bin/x and /usr/bin/x are one path.",
    ),
    "package-missing": Code(
        EXIT_INPUT,
        "No store of the search path has the package that was named, signed by a trusted key.",
        "Import, build or fetch it; `--source URL` fetches what a list lacks.",
    ),
    "path-missing": Code(
        EXIT_INPUT,
        "The root has no such path.",
        "`bootunion plan LIST --tree DIR` shows what is there.",
    ),
    "privilege-missing": Code(
        EXIT_FAILED,
        "This step mounts file systems and needs root.",
        "Run it as root (sudo).",
    ),
    "program-failed": Code(
        EXIT_FAILED,
        "A program that bootunion starts ended with an error.",
        "Its own words stand behind the sentence.",
    ),
    "program-missing": Code(
        EXIT_FAILED,
        "A program that bootunion starts is not installed.",
        "Install the Debian package that the sentence names.",
    ),
    "project-invalid": Code(
        EXIT_INPUT,
        "A project's file has an unknown, missing or impossible part.",
        "docs/projects.md lists what is read.",
    ),
    "project-missing": Code(
        EXIT_INPUT,
        "A directory has none of the files that make it a project.",
        "Write a bootunion.yaml, or lock with uv, pip or pip-tools (docs/projects.md).",
    ),
    "python-unfit": Code(
        EXIT_INPUT,
        "An interpreter cannot run what lies below /usr/local.",
        "Name the distribution's own Python, /usr/bin/python3, with `python` or --python.",
    ),
    "requirements-incomplete": Code(
        EXIT_INPUT,
        "A project's requirements need a package that they do not name.",
        "Lock the project again, with everything that its packages depend on.",
    ),
    "root-differs": Code(
        EXIT_UNTRUSTED,
        "The running root is not the one that its signed list says, below the upper.",
        "Look at the named path; `bootunion verify` tells whether its package is whole.",
    ),
    "root-hash-mismatch": Code(
        EXIT_UNTRUSTED,
        "A package's blocks do not hash to its root hash.",
        "Fetch or import the package again: the file is damaged or was changed.",
    ),
    "sdist-only": Code(
        EXIT_INPUT,
        "A project asks for something that has to be built from source first.",
        "Build a wheel with `pip wheel --no-deps`, lock it, name its directory in `find-links`.",
    ),
    "sealing-unsupported": Code(
        EXIT_FAILED,
        "The store's file system has no fs-verity, or it is not switched on.",
        "Make it with `mkfs.ext4 -O verity -b 4096`, or use `tune2fs -O verity`; btrfs has it.",
    ),
    "secret-found": Code(
        EXIT_INPUT,
        "Composing left a private key that would be baked into every machine.",
        "Remove it with a command in the system.yaml.",
    ),
    "signature-invalid": Code(
        EXIT_UNTRUSTED,
        "A signature by a trusted key does not fit the signed bytes.",
        "Fetch the file again; when it is right, sign it again.",
    ),
    "signature-untrusted": Code(
        EXIT_UNTRUSTED,
        "Fewer trusted keys of the role have signed than the trust store asks for.",
        "Sign with a key of the trust store, or add the key to the machine's trust store.",
    ),
    "source-failed": Code(
        EXIT_FAILED,
        "No source gave a file that is needed, or none gave it right.",
        "What each source said stands in the sentence; name another one with --source.",
    ),
    "source-invalid": Code(
        EXIT_INPUT,
        "Text is no source of packages.",
        "Give a directory, or an address that begins with file://, http:// or https://.",
    ),
    "sources-missing": Code(
        EXIT_INPUT,
        "There is no apt source for a suite of the system.yaml.",
        "Add it to the host's apt sources, or give `sources` in the system.yaml.",
    ),
    "state-invalid": Code(
        EXIT_UNTRUSTED,
        "The machine's memory of a list is damaged; it starts anew.",
        "Nothing need be done; the tries, the last good generation and the floor are forgotten.",
    ),
    "state-unwritable": Code(
        EXIT_FAILED,
        "The store takes no writes, so no try can be counted.",
        "Make the store writable, or its disk larger.",
    ),
    "store-missing": Code(
        EXIT_FAILED,
        "The initramfs generator could not mount the device that root= names.",
        "Check the device and root= on the kernel command line.",
    ),
    "system-invalid": Code(
        EXIT_INPUT,
        "A system.yaml has an unknown, missing or impossible key.",
        "docs/formats.md lists the keys.",
    ),
    "tries-exhausted": Code(
        EXIT_FAILED,
        "A generation was booted as often as its list allows and never marked good.",
        "Look at its reports with `bootunion doctor`, then compose a better one.",
    ),
    "trust-expired": Code(
        EXIT_UNTRUSTED,
        "The trust store's expiry lies in the past, or this machine's clock is wrong.",
        "Check the clock; then publish a newer version of the trust store.",
    ),
    "trust-forked": Code(
        EXIT_UNTRUSTED,
        "A version of the trust store is not the one of this number that was believed before.",
        "Find out who signed it with old root keys; then publish the right versions again.",
    ),
    "trust-invalid": Code(
        EXIT_INPUT,
        "The trust store is not in the form that bootunion reads.",
        "Make it with `bootunion keygen`.",
    ),
    "trust-misplaced": Code(
        EXIT_UNTRUSTED,
        "A trust store's signed version is not the one that comes next.",
        "Put each version where its own number says; no version may be left out.",
    ),
    "trust-rolled-back": Code(
        EXIT_UNTRUSTED,
        "The store lacks a version of the trust store that this machine has believed before.",
        "Publish all versions again with `bootunion trust publish`, or make a new initramfs.",
    ),
    "trust-too-far": Code(
        EXIT_UNTRUSTED,
        "The store has more versions of the trust store than are followed from the initramfs.",
        "Make a new initramfs with the newest trust.json.",
    ),
    "unit-invalid": Code(
        EXIT_INPUT,
        "A name is not that of a systemd service.",
        "Name it as systemctl does: NAME.service.",
    ),
    "upper-missing": Code(
        EXIT_FAILED,
        "The running root's upper cannot be looked at.",
        "Restart the machine with this version's initramfs; it shows the upper to root.",
    ),
    "upper-unsupported": Code(
        EXIT_PLAN,
        "The list asks for an upper that cannot be made here.",
        "Use `volatile`, `none`, or a store that is writable.",
    ),
    "user-unknown": Code(
        EXIT_INPUT,
        "There is no user of that name.",
        "Correct the name, or ask what serves the machine's users (`getent passwd`).",
    ),
    "users-invalid": Code(
        EXIT_INPUT,
        "/etc/bootunion/users.yaml is wrong, so nobody can tell whose root is whose.",
        "Correct the entry as root, who needs none; docs/logins.md has the form.",
    ),
    "verity-invalid": Code(
        EXIT_UNTRUSTED,
        "A package file's verity superblock does not fit its manifest.",
        "Fetch or import the package again.",
    ),
    "verity-io": Code(
        EXIT_UNTRUSTED,
        "A package's file system could not be mounted through dm-verity.",
        "The package is damaged: fetch or copy it into the store again.",
    ),
    "wheel-invalid": Code(
        EXIT_INPUT,
        "A file is not a wheel, or a damaged one, or one that is not what it says.",
        "Download it again; when it is so again, its maker must make a right one.",
    ),
    "wheel-missing": Code(
        EXIT_FAILED,
        "No source has a wheel that a project asks for.",
        "Name an index or a directory that has it, in bootunion.yaml or in pip's configuration.",
    ),
    "wheel-unfit": Code(
        EXIT_INPUT,
        "A wheel is for another Python or another machine.",
        "Choose another interpreter, or lock a version that has a wheel for this one.",
    ),
    "whiteout-found": Code(
        EXIT_INPUT,
        "A maintainer script took away a package's file.",
        "Name the path under `allow-whiteouts` in the system.yaml when that is meant.",
    ),
}
