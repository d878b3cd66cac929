"""The real command line, as a process: statuses, sentences, signals, what is left behind."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from importing import CONTROL, deb, directory, member

from bootunion import dsse, manifest, systemlist, trust
from bootunion.host import packaging, signing
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.systemlist import Layer, SystemList

BIN = Path(sys.executable).parent / "bootunion"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, or becomes another user")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def bootunion(
    *words: object, status: int = 0, before: tuple[str, ...] | list[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*before, BIN, *map(str, words)], env=os.environ | env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def words(tmp_path: Path, keys: Path) -> list[object]:
    return ["--store", tmp_path / "store", "--package-key", keys / "package.key"]


def whole(store: Path) -> list[str]:
    """The names of the store's packages, each of them whole; nothing else is in it."""
    if not store.exists():
        return []
    kept = Store(store)
    names = []
    expected = set()
    for stem in kept.stems():
        one = manifest.decode(kept.envelope(stem).payload, subject=stem)
        packaging.check_image(kept.packages / one.file_name, one.image, subject=stem)
        assert kept.entries(one)
        names.append(one.name)
        expected |= {f"{stem}.json", f"{stem}.contents", one.file_name}
    assert {path.name for path in kept.packages.iterdir()} == expected
    return names


def a_list(store: Path, keys: Path, name: str = "demo") -> Path:
    """A signed list of all packages of the store."""
    kept = Store(store)
    found = [manifest.decode(kept.envelope(stem).payload, subject=stem) for stem in kept.stems()]
    layers = tuple(Layer(one.name, one.version, one.architecture, one.image) for one in found)
    made = SystemList(name, 1, 0, 0, "amd64", "", layers, "volatile", "0" * 64)
    envelope = Signer(keys / "list.key")(made.encode(), systemlist.PAYLOAD_TYPE)
    return kept.add_list(name, 1, envelope)


def test_keygen_says_what_it_made_and_never_writes_over_it(tmp_path: Path) -> None:
    plain = bootunion("keygen", tmp_path / "one").stdout.split()
    told = json.loads(bootunion("keygen", tmp_path / "two", "--json").stdout)
    assert [Path(path).name for path in plain] == [Path(path).name for path in told]
    assert all(Path(path).exists() for path in told)
    before = (tmp_path / "one/list.key").read_bytes()
    assert "[exists]" in bootunion("keygen", tmp_path / "one", status=3).stderr
    assert (tmp_path / "one/list.key").read_bytes() == before


def test_build_says_what_it_made(tmp_path: Path, words: list[object]) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/f").write_text("x")
    build = ["build", tmp_path / "t", "--name", "mine", "--version", "1.2", *words]
    header, line = bootunion(*build).stdout.splitlines()
    told = json.loads(bootunion(*build, "--json").stdout)
    (one,) = told["packages"]
    assert header.split("\t") == ["package", "version", "size", "root hash"]
    assert line.split("\t")[:2] == ["mine", "1.2"]
    assert line.split("\t")[3] == one["image"]["root_hash"]
    assert whole(tmp_path / "store") == ["mine"]


def test_good_files_stay_and_bad_ones_are_named(
    tmp_path: Path, words: list[object], debs: dict[str, Path]
) -> None:
    text, gone = tmp_path / "text.deb", tmp_path / "gone.deb"
    text.write_text("no package")
    files = [debs["at"], text, debs["dash"], gone]
    done = bootunion("import", "deb", *files, *words, status=3)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == ["at", "dash"]
    assert "text.deb: is not a Debian package [deb-invalid]" in done.stderr
    assert f"{gone}: cannot be read: No such file or directory [file-missing]" in done.stderr
    assert whole(tmp_path / "store") == ["at", "dash"]
    told = json.loads(bootunion("import", "deb", *files, *words, "--json", status=3).stdout)
    assert [one["name"] for one in told["packages"]] == ["at", "dash"]
    assert [(one["file"], one["code"]) for one in told["refused"]] == [
        (str(text), "deb-invalid"), (str(gone), "file-missing")]  # fmt: skip


def test_verify_finds_what_is_not_as_signed(
    tmp_path: Path, words: list[object], debs: dict[str, Path], keys: Path
) -> None:
    bootunion("import", "deb", debs["at"], debs["dash"], *words)
    a_list(tmp_path / "store", keys)
    ask = ["verify", "demo", "--store", tmp_path / "store", "--trust", keys / "trust"]
    assert "2 packages whole, 0 bad" in bootunion(*ask).stdout
    told = json.loads(bootunion(*ask, "--json").stdout)
    assert (told["list"], told["generation"], told["packages"], told["bad"]) == ("demo", 1, 2, [])
    image = next((tmp_path / "store/packages").glob("dash*.squashfs"))
    data = bytearray(image.read_bytes())
    data[9000] ^= 1
    image.write_bytes(data)
    assert "[root-hash-mismatch]" in bootunion(*ask, status=4).stdout
    told = json.loads(bootunion(*ask, "--json", status=4).stdout)
    assert [one["code"] for one in told["bad"]] == ["root-hash-mismatch"]
    bootunion("verify", "other", *ask[2:], status=1)
    bootunion("verify", "../x", *ask[2:], status=3)
    missing = bootunion("verify", "demo", "--store", tmp_path / "no", *ask[4:], status=1)
    assert str(tmp_path / "no") in missing.stderr


@pytest.fixture
def token(tmp_path: Path, keys: Path) -> Path:
    """A program that signs with a key that bootunion never sees."""
    path = tmp_path / "token"
    path.write_text(
        f'#!/bin/sh\nset -e\ncat > "{tmp_path}/message"\n'
        f'openssl pkeyutl -sign -rawin -inkey "{keys}/$1.key" -in "{tmp_path}/message"\n'
    )
    path.chmod(0o755)
    return path


def test_a_program_signs(tmp_path: Path, keys: Path, token: Path, debs: dict[str, Path]) -> None:
    store = tmp_path / "store"
    bootunion("import", "deb", debs["at"], "--store", store, "--package-key",
              keys / "package.pub", "--sign-command", f"{token} package")  # fmt: skip
    file = a_list(store, keys)
    file.write_bytes(dsse.decode(file.read_bytes(), subject="x")._replace(signatures=()).encode())
    sign = ["sign", file, "--key", keys / "list.pub", "--sign-command", f"{token} list"]
    assert bootunion(*sign).stdout == f"{file}: 1 signature(s)\n"
    told = json.loads(bootunion(*sign, "--json").stdout)
    believed = signing.read_trust(keys / "trust")
    assert told == {"file": str(file), "type": systemlist.PAYLOAD_TYPE,
                    "signatures": list(believed.roles["list"].key_ids)}  # fmt: skip
    trust.open_envelope(believed, "list", dsse.decode(file.read_bytes(), subject="x"), subject="x")
    bootunion("verify", "demo", "--store", store, "--trust", keys / "trust")


@pytest.mark.parametrize(
    "answer, status, code",
    [
        ("head -c 64 /dev/zero", 4, "signature-invalid"),
        ("true", 4, "signature-invalid"),
        ("yes | head -c 1000", 4, "signature-invalid"),
        ("echo no such token >&2; exit 7", 1, "program-failed"),
    ],
)
def test_a_program_that_answers_wrongly_is_refused(
    tmp_path: Path, keys: Path, debs: dict[str, Path], answer: str, status: int, code: str
) -> None:
    liar = tmp_path / "liar"
    liar.write_text(f"#!/bin/sh\n{answer}\n")
    liar.chmod(0o755)
    done = bootunion("import", "deb", debs["at"], "--store", tmp_path / "store", "--package-key",
                     keys / "package.pub", "--sign-command", liar, status=status)  # fmt: skip
    assert f"[{code}]" in done.stderr
    assert whole(tmp_path / "store") == []


def test_a_signing_program_that_is_not_there_is_named(
    tmp_path: Path, keys: Path, debs: dict[str, Path]
) -> None:
    for command, words in (("nosuchprogram", "nosuchprogram is not installed"),
                           ("/no/such/program", "/no/such/program: is not there")):  # fmt: skip
        done = bootunion("import", "deb", debs["at"], "--store", tmp_path / "store",
                         "--package-key", keys / "package.pub", "--sign-command", command,
                         status=1)  # fmt: skip
        assert words in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["import", "deb"], ["import", "deb", "x.deb", "--package-key", "k", "--colour"],
        ["import", "deb", "x.deb", "--package-key", "k", "--jobs", "0"], ["import", "rpm", "x"],
        ["build", "x"], ["nosuch"], ["verify"], ["sign", "x"], ["completion", "csh"],
        ["verify", "demo", "--generation", "0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_words_end_with_2_and_help(wrong: list[str]) -> None:
    done = bootunion(*wrong, status=2)
    assert "Usage: bootunion" in done.stderr
    assert "--help" in done.stderr


@pytest.mark.parametrize("name", ["a/b", "../x", "..", ".x", "-x", "", "a b", "a\nb"])
def test_an_impossible_name_is_refused(tmp_path: Path, words: list[object], name: str) -> None:
    (tmp_path / "t").mkdir()
    for about in (["--name", name, "--version", "1"], ["--name", "x", "--version", name]):
        if about[-1] == "" and about[1] == "x":
            continue
        done = bootunion("build", tmp_path / "t", *about, *words, status=3)
        assert "[name-invalid]" in done.stderr
    assert whole(tmp_path / "store") == []


def test_what_cannot_be_built_is_named(tmp_path: Path, words: list[object]) -> None:
    about = ["--name", "x", "--version", "1", *words]
    done = bootunion("build", tmp_path / "gone", *about, status=1)
    assert f"{tmp_path / 'gone'}: is not a directory [file-missing]" in done.stderr
    (tmp_path / "store" / "packages").rmdir()
    (tmp_path / "store" / "packages").write_text("no directory")
    (tmp_path / "t").mkdir()
    assert "[io-failed]" in bootunion("build", tmp_path / "t", *about, status=1).stderr


@needs_root
def test_what_a_user_may_not_read_or_write_is_named(
    place: Path, keys: Path, debs: dict[str, Path]
) -> None:
    secret = place / "secret.deb"
    shutil.copy(debs["at"], secret)
    secret.chmod(0o600)
    shutil.copy(keys / "package.key", place / "key")
    (place / "key").chmod(0o644)
    words = ["--package-key", place / "key", "--store"]
    done = bootunion("import", "deb", secret, *words, place / "s", status=1, before=NOBODY)
    assert f"{secret}: cannot be read: Permission denied [file-missing]" in done.stderr
    bootunion("import", "deb", secret, *words, place / "roots")
    done = bootunion("import", "deb", secret, *words, place / "roots", status=1, before=NOBODY)
    assert "Permission denied" in done.stderr
    (place / "t").mkdir(mode=0o755)
    (place / "t/f").write_text("secret")
    (place / "t/f").chmod(0o600)
    about = ["--name", "x", "--version", "1"]
    for store in ("s", "roots"):
        done = bootunion("build", place / "t", *about, *words, place / store, status=1,
                         before=NOBODY)  # fmt: skip
        assert "Permission denied" in done.stderr


@needs_root
def test_another_user_makes_the_same_bytes(place: Path, keys: Path, debs: dict[str, Path]) -> None:
    files = []
    for name in ("at", "base-files", "perl-base", "sudo"):
        files.append(shutil.copy(debs[name], place))
    shutil.copy(keys / "package.key", place / "key")
    (place / "key").chmod(0o644)
    tree = place / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d/f").write_bytes(b"x" * 100_000)
    (tree / "d/setuid").touch(0o755)
    (tree / "d/setuid").chmod(0o4755)
    os.link(tree / "d/f", tree / "hard")
    os.mkfifo(tree / "fifo")
    (tree / "null").touch()
    os.setxattr(tree / "d/f", "security.capability", b"\x01\0\0\x02\0\x20\0\0" + bytes(12))
    made = []
    for before, where in (([], "by-root"), (NOBODY, "by-nobody")):
        words = ["--store", place / where, "--package-key", place / "key"]
        bootunion("import", "deb", *files, *words, before=before)
        bootunion("build", tree, "--name", "t", "--version", "1", *words, before=before)
        made.append(
            {path.name: path.read_bytes() for path in (place / where / "packages").iterdir()}
        )
    assert len(made[0]) == 15
    assert made[0] == made[1]


@contextlib.contextmanager
def tmpfs(where: Path, size: str) -> Iterator[Path]:
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


@needs_root
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, keys: Path, debs: dict[str, Path]
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/f").write_bytes(os.urandom(3 << 20))
    with tmpfs(tmp_path / "small", "1m") as small:
        words = ["--store", small, "--package-key", keys / "package.key"]
        done = bootunion("build", tmp_path / "t", "--name", "x", "--version", "1", *words, status=1)
        assert "[disk-full]" in done.stderr
        assert whole(small) == []
        done = bootunion("import", "deb", debs["perl-base"], debs["at"], *words, status=1)
        assert "[disk-full]" in done.stderr
        assert set(whole(small)) <= {"at"}
    with tmpfs(tmp_path / "none", "4k") as none:
        assert "[disk-full]" in bootunion("keygen", none / "keys", status=1).stderr
        done = bootunion("build", tmp_path / "t", "--name", "x", "--version", "1", "--store", none,
                         "--package-key", keys / "package.key", status=1)  # fmt: skip
        assert "[disk-full]" in done.stderr


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four .debs and a directory that take a while to compress."""
    where = tmp_path_factory.mktemp("slow")
    text = b"".join(b"%d %x\n" % (number, number * 7919) for number in range(1_500_000))
    for number in range(4):
        control = CONTROL.replace(b"odd", b"slow%d" % number)
        deb(where / f"slow{number}.deb", [directory("./"), member("./f", text)], control)
    (where / "tree").mkdir()
    for number in range(3):
        (where / f"tree/{number}").write_bytes(b"%d" % number + text)
    return where


def command(what: str, slow: Path, words: list[object]) -> list[str]:
    if what == "import":
        start = [BIN, "import", "deb", *sorted(slow.glob("*.deb")), "--jobs", "2"]
    else:
        start = [BIN, "build", slow / "tree", "--name", "t", "--version", "1"]
    return [str(word) for word in [*start, *words]]


def processes(session: int) -> list[str]:
    """What runs in a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            fields = text.rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(text)
    return found


def waited_for(what: str, true: object) -> None:
    for _ in range(3000):
        if true():  # type: ignore[operator]
            return
        time.sleep(0.02)
    pytest.fail(f"no {what} in a minute")


@contextlib.contextmanager
def begun(argv: list[str], place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, in the middle of its work; afterwards nothing of it runs.

    What it says goes to `place`/said: a pipe would stay open while anything of it runs.
    """
    with (place / "said").open("w") as said:
        child = subprocess.Popen(
            argv, start_new_session=True, stdout=subprocess.DEVNULL, stderr=said
        )  # fmt: skip
    images = "store/packages/.new-*/image"
    try:
        waited_for("image", lambda: any(path.stat().st_size for path in place.glob(images)))
        yield child
        waited_for("end of all processes", lambda: not processes(child.pid))
    finally:
        if processes(child.pid):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
@pytest.mark.parametrize("what", ["import", "build"])
def test_an_interrupted_command_leaves_nothing(
    tmp_path: Path, slow: Path, words: list[object], what: str, number: int, group: bool
) -> None:
    with begun(command(what, slow, words), tmp_path) as child:
        (os.killpg if group else os.kill)(child.pid, number)
        child.wait()
    said = (tmp_path / "said").read_text()
    assert child.returncode == 130, said
    assert said.splitlines()[-1] == "bootunion: interrupted; nothing half-written is left"
    assert "Traceback" not in said
    assert whole(tmp_path / "store") == []


@pytest.mark.parametrize("what", ["import", "build"])
def test_what_a_killed_command_left_is_cleared_by_the_next(
    tmp_path: Path, slow: Path, words: list[object], debs: dict[str, Path], what: str
) -> None:
    with begun(command(what, slow, words), tmp_path) as child:
        child.kill()
        child.wait()
    bootunion("import", "deb", debs["at"], *words)
    assert whole(tmp_path / "store") == ["at"]


def test_a_running_command_s_work_is_not_cleared_by_another(
    tmp_path: Path, slow: Path, words: list[object], debs: dict[str, Path]
) -> None:
    with begun(command("build", slow, words), tmp_path) as child:
        bootunion("import", "deb", debs["at"], *words)
        child.wait()
    assert child.returncode == 0
    assert whole(tmp_path / "store") == ["at", "t"]


def test_a_worker_that_is_killed_ends_the_import_in_a_sentence(
    tmp_path: Path, slow: Path, words: list[object]
) -> None:
    with begun(command("import", slow, words), tmp_path) as child:
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        child.wait()
    said = (tmp_path / "said").read_text()
    assert child.returncode == 1
    assert "[program-failed]" in said
    assert "Traceback" not in said
    Store(tmp_path / "store").create()
    whole(tmp_path / "store")


@pytest.mark.parametrize(
    "typed, found",
    [
        (["ver"], ["verify"]),
        (["import", ""], ["deb", "wheel"]),
        (["plan", "--store", "{store}", "d"], ["demo", "desk"]),
        (["verify", "--store", "{store}", "x"], []),
        (["plan", "--store", "/no/such/store", ""], []),
        (["initramfs", "--store", "{store}", "oth"], ["other"]),
    ],
    ids=" ".join,
)
def test_bash_completes(tmp_path: Path, typed: list[str], found: list[str]) -> None:
    store = tmp_path / "store"
    for name in ("demo", "desk", "other"):
        (store / "lists" / name).mkdir(parents=True)
    script = tmp_path / "completion"
    script.write_text(bootunion("completion", "bash").stdout)
    line = ["bootunion", *(word.format(store=store) for word in typed)]
    text = (
        'set -e; source "$1"; shift; complete -p bootunion > /dev/null; COMP_WORDS=("$@");'
        "COMP_CWORD=$(($# - 1)); _bootunion_completion bootunion; "
        '(( ${#COMPREPLY[@]} == 0 )) || printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = os.environ | {"PATH": f"{BIN.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", text, "-", script, *line], env=env, text=True, check=True,
                          stdout=subprocess.PIPE)  # fmt: skip
    assert done.stdout.split() == found


@pytest.mark.parametrize("shell, check", [("fish", "--no-execute"), ("zsh", "-n"), ("bash", "-n")])
def test_the_shell_reads_its_script(tmp_path: Path, shell: str, check: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    script = tmp_path / "script"
    script.write_text(bootunion("completion", shell).stdout)
    assert "bootunion" in script.read_text()
    subprocess.run([shell, check, script], check=True)


def test_the_made_pages_are_up_to_date() -> None:
    script = Path(__file__).resolve().parents[1] / "scripts/make_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run scripts/make_docs.py"
