"""The plan: what will be done to make a root, worked out before anything is done.

The agent at boot and `bootunion plan` on the host call the same `for_boot`; composing and other
unions in a namespace call `for_namespace`. Everything here is values in, values out.
"""

from __future__ import annotations

from . import operations as op
from . import package
from .errors import BootunionError
from .operations import Operation
from .systemlist import EIO, OPTIONAL, UPPER_NONE, UPPER_VOLATILE, Layer, SystemList
from .values import NamedTuple

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STORE_MOUNT_POINT = "/pkgs"
UNION_INDEX = "index"
UNION_LAYERS = "layers"

# The kernel's name of a machine (uname -m) and the distributions' names for it.
ARCHITECTURES = {
    "x86_64": ("amd64", "x86_64"),
    "aarch64": ("arm64", "aarch64"),
    "armv7l": ("armhf", "armv7h"),
    "i686": ("i386", "i686"),
    "ppc64le": ("ppc64el", "ppc64le"),
    "riscv64": ("riscv64",),
    "s390x": ("s390x",),
}

# At shutdown systemd would try to unmount the store, fail (the layers' loop devices hold it) and
# say so in red. Without default dependencies the mount is left to systemd-shutdown's last pass.
_KEEP_STORE_MOUNTED = "[Unit]\nDefaultDependencies=no\n"
# Units that the list names must be up before bootunion-good.service, which waits for this target.
_COMPLETE_FILE = "systemd/system/boot-complete.target.d/50-bootunion.conf"
_GOOD_FILE = "systemd/system/bootunion-good.service.d/50-bootunion.conf"
# udev would look into each layer's devices, twice, and systemd would make units of them: minutes of
# work on a slow machine with hundreds of packages, for devices that nobody mounts by name.
_UDEV_FILE = "udev/rules.d/00-bootunion.rules"
_UDEV_QUIET = ", ".join(
    (
        'ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"',
        'ENV{SYSTEMD_READY}="0"',
        'OPTIONS+="nowatch"',
    )
)
_UDEV_RULES = (
    'SUBSYSTEM=="block", KERNEL=="loop*", ATTR{loop/backing_file}=='
    f'"{"|".join(f"*/packages/*.{kind}" for kind in package.FORMATS)}", '
    f"{_UDEV_QUIET}\n"
    f'SUBSYSTEM=="block", KERNEL=="dm-*", ATTR{{dm/uuid}}=="BOOTUNION-*", {_UDEV_QUIET}\n'
)
_KEEP_STORE_FILE = "systemd/system/pkgs.mount.d/50-bootunion.conf"


_FILE_MOUNTS = (6, 12)
"""The Linux that first mounts an EROFS from a file (fs/erofs/Kconfig, EROFS_FS_BACKED_BY_FILE)."""


class Machine(NamedTuple):
    """What the plan has to know of the machine: `uname -m` and `uname -r`."""

    architecture: str
    kernel: str


class Places(NamedTuple):
    """Where the agent works: the sysroot, the /run of the initramfs."""

    sysroot: str = "/sysroot"
    run: str = "/run"

    @property
    def workspace(self) -> str:
        """The directory of the private tmpfs that mounts are made in."""
        return f"{self.run}/bootunion/workspace"

    @property
    def upper(self) -> str:
        """Where the running system's root can look at the upper."""
        return f"{self.run}/bootunion/private/upper"

    @property
    def kept_index(self) -> str:
        """Where the running system has the index of its list (`process.INDEX`)."""
        return f"{self.run}/bootunion/private/index"


def refusals(system: SystemList, machine: Machine) -> tuple[BootunionError, ...]:
    """Why this machine must not boot this list; empty when it may."""
    subject = system.title
    found = []
    if system.architecture not in ARCHITECTURES.get(machine.architecture, ()):
        text = f"the list is for {system.architecture}, this machine is {machine.architecture}"
        found.append(BootunionError("architecture-mismatch", text, subject=subject))
    if system.kernel not in ("", machine.kernel):
        text = f"the list is for kernel {system.kernel}, {machine.kernel} is running"
        found.append(BootunionError("kernel-mismatch", text, subject=subject))
    if system.upper not in (UPPER_VOLATILE, UPPER_NONE):
        text = f"the upper `{system.upper}` is not available in this version"
        found.append(BootunionError("upper-unsupported", text, subject=subject))
    return tuple(found)


def mounts_files(kernel: str) -> bool:
    """Whether a kernel of this release (`uname -r`) mounts an EROFS without a block device."""
    return is_at_least(kernel, _FILE_MOUNTS)


def is_at_least(kernel: str, version: tuple[int, int]) -> bool:
    """Whether a kernel's release (`uname -r`) is of this version or a later one."""
    major, _, rest = kernel.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    if not (major.isdecimal() and minor.isdecimal()):
        return False
    return (int(major), int(minor)) >= version


def for_boot(system: SystemList, places: Places, *, by_file: bool = False) -> tuple[Operation, ...]:
    """The operations that turn a list into the root at `places.sysroot`.

    `by_file`: a package that is sealed with fs-verity is mounted without a block device.
    """
    workspace = places.workspace
    root = f"{workspace}/root"
    upper = f"{workspace}/upper" if system.upper == UPPER_VOLATILE else ""
    return (
        op.WriteFile(f"{places.run}/{_UDEV_FILE}", _UDEV_RULES),
        op.PrepareWorkspace(workspace),
        *_layers(system, verity=True, by_file=by_file and system.corruption == EIO),
        *((op.MountTmpfs(upper),) if upper else ()),
        _overlay(system, root, upper),
        *((op.KeepUpper(upper, places.upper),) if upper else ()),
        *((op.KeepIndex(len(system.layers), places.kept_index),) if system.index_layer else ()),
        op.PlaceStore(root + STORE_MOUNT_POINT),
        op.WriteFile(f"{places.run}/{_KEEP_STORE_FILE}", _KEEP_STORE_MOUNTED),
        *_boot_complete(system, places),
        op.ReplaceSysroot(places.sysroot, root),
        op.RemoveWorkspace(workspace),
    )


def _boot_complete(system: SystemList, places: Places) -> tuple[Operation, ...]:
    if not system.good_when:
        return ()
    units = " ".join(system.good_when)
    order = f"[Unit]\nRequires={units}\nAfter={units}\n"
    # systemd takes a required unit that does not exist for none, so each is asked for by name.
    asked = (unit.replace("\\", "\\\\") for unit in system.good_when)
    lines = "".join(f"ExecStartPre=/usr/bin/systemctl is-active --quiet {unit}\n" for unit in asked)
    return (
        op.WriteFile(f"{places.run}/{_COMPLETE_FILE}", order),
        op.WriteFile(f"{places.run}/{_GOOD_FILE}", f"[Service]\n{lines}"),
    )


def for_namespace(
    system: SystemList, workspace: str, *, upper: str, verity: bool
) -> tuple[Operation, ...]:
    """The operations that unite a list at `<workspace>/root`, in a private mount namespace.

    `upper` is a directory with `upper/` and `work/`, or "" for a read-only union. Without `verity`
    the caller must have checked every block of every package itself.
    """
    return (
        op.PrepareWorkspace(workspace),
        *_layers(system, verity=verity),
        _overlay(system, f"{workspace}/root", upper),
    )


def for_running(
    system: SystemList, workspace: str, files: Collection[int] = ()
) -> tuple[Operation, ...]:
    """The operations that unite the layers of a running root once more, without the upper.

    As `for_namespace`, but each layer's device is there already: the executor has to be given it.
    The layers in `files` have none, they are sealed files.
    """
    steps: list[Operation] = []
    for index, (layer, mounts) in enumerate(zip(system.packages, _mounts(system), strict=True)):
        if index in files:
            steps.append(_bind(index, layer))
        steps += mounts
    return (
        op.PrepareWorkspace(workspace),
        *steps,
        _overlay(system, f"{workspace}/root", ""),
    )


def union(system: SystemList) -> str:
    """How the layers become one: by an index or by overlayfs, layer upon layer."""
    return UNION_INDEX if system.index_layer else UNION_LAYERS


def _overlay(system: SystemList, path: str, upper: str) -> Operation:
    if system.index_layer:
        return op.MountOverlay(path, ((len(system.layers), system.index_layer.image.root),), upper)
    lower = tuple((index, layer.image.root) for index, layer in enumerate(system.layers))
    return op.MountOverlay(path, lower, upper)


def _bind(index: int, layer: Layer) -> Operation:
    image, optional = layer.image, layer.need == OPTIONAL
    return op.BindFile(index, layer.name, layer.file_name, image.size, image.fsverity, optional, 0)


def _layers(system: SystemList, *, verity: bool, by_file: bool = False) -> list[Operation]:
    steps: list[Operation] = []
    for index, (layer, mounts) in enumerate(zip(system.packages, _mounts(system), strict=True)):
        image, optional = layer.image, layer.need == OPTIONAL
        if by_file and image.fsverity:
            steps.append(_bind(index, layer))
        steps.append(op.AttachLoop(index, layer.file_name, image.size, optional, 0))
        if verity:
            steps.append(
                op.CreateVerity(
                    index, layer.name, image.data_blocks, image.root_hash, image.salt,
                    optional, system.corruption,
                )
            )  # fmt: skip
        steps += mounts
    return steps


def _mounts(system: SystemList) -> Iterator[tuple[Operation, ...]]:
    """What is mounted once a package's device is there: each one, or only the index, the last."""
    for index, layer in enumerate(system.layers):
        if system.index_layer:
            yield ()
        else:
            optional = layer.need == OPTIONAL
            yield (op.MountImage(index, layer.name, layer.image.format, optional),)
    if system.index_layer:
        count = len(system.layers)
        yield (
            op.MountIndex(count, system.index_layer.name, system.index_layer.image.format, count),
        )
