"""Composing real, small systems: the same bytes everywhere, scripts kept to themselves, what they
take away, what systemd finds up to date."""

import os
import pty
import resource
import subprocess
from pathlib import Path

import erofstools
import pytest
from composing import BOOTUNION, Shop, deb, needs_root, run

from bootunion import plan as planning
from bootunion.host import namespace, reading, signing
from bootunion.host.sandbox import Sandbox
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.systemlist import PAYLOAD_TYPE, Shadowing, SystemList

pytestmark = needs_root
_OPENED = " (: {}) 2>/dev/null && echo yes || echo no"


def read(shop: Shop) -> SystemList:
    trusted = signing.read_trust(shop.keys / "trust")
    return reading.read_list(Store(shop.store), trusted, "small", 0)[0]


def test_composing_twice_gives_the_same_bytes(pair: tuple[Shop, list[str]]) -> None:
    made, differences = pair
    assert not differences
    assert len(read(made).layers) > 80


FACTS = f"""
exec > /etc/facts 2>&1
echo tty=$({_OPENED.format("< /dev/tty")})
echo stdin=$(readlink /proc/self/fd/0) $(wc -c)
echo umask=$(umask) core=$(ulimit -c) files=$(ulimit -n) size=$(ulimit -f)
echo session=$(cut -d' ' -f6,7 /proc/$$/stat)
echo processes=$(ls /proc | grep -c '^[0-9]')
echo host=$(uname -n)
for file in sysrq-trigger sys/kernel/core_pattern sys/vm/drop_caches; do
    echo $file=$({_OPENED.format(">> /proc/$file")})
done
echo sys=$({_OPENED.format(">> /sys/power/state")})
echo capabilities=$(sed -n 's/CapBnd:.//p' /proc/self/status)
echo network=$(ls /sys/class/net)
echo secret=$SECRET
"""


def test_scripts_see_nothing_of_the_caller_and_the_machine(shop: Shop, tmp_path: Path) -> None:
    asking = deb(tmp_path, "asking", preinst=FACTS)  # dpkg itself sets the umask for others
    argv = shop.argv(f"local: [{asking}]\n")
    before = Path("/proc/sys/kernel/hostname").read_text()
    # A terminal of its own, an unusual umask and limits, something on standard input.
    child, terminal = pty.fork()
    if child == 0:
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        resource.setrlimit(resource.RLIMIT_NOFILE, (700, 4096))
        os.execve(argv[0], argv, {**os.environ, "SECRET": "s", "TERM": "xterm"})
    os.write(terminal, b"words for standard input\n")
    shown = b""
    while True:
        try:
            said = os.read(terminal, 1 << 16)
        except OSError:  # EIO: nobody has the terminal any more
            break
        shown += said
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown.decode()
    facts = dict(line.split("=", 1) for line in shop.generated("etc/facts").splitlines())
    # Field 6 of stat is the session, 7 the terminal (proc(5)); 0 is one from outside, and none.
    assert facts == {
        "tty": "no", "stdin": "/dev/null 0", "umask": "0022 core=0 files=1024 size=unlimited",
        "session": "0 0", "processes": facts["processes"], "host": "bootunion",
        "sysrq-trigger": "no", "sys/kernel/core_pattern": "no", "sys/vm/drop_caches": "no",
        "sys": "no", "capabilities": facts["capabilities"], "network": "lo", "secret": "",
    }  # fmt: skip
    assert int(facts["processes"]) < 8
    # Modules, ports and memory, reboot, the clock, the kernel's log (linux/capability.h).
    assert int(facts["capabilities"], 16) & sum(1 << bit for bit in (16, 17, 22, 25, 34)) == 0
    assert Path("/proc/sys/kernel/hostname").read_text() == before


def inside(shop: Shop, work: Path, program: str) -> str:
    """What a program says in a root of the small system."""
    system = read(shop)
    (work / "upper").mkdir(parents=True)
    steps = planning.for_namespace(
        system, str(work / "union"), upper=str(work / "upper"), verity=False
    )
    said: list[str] = []

    def ask(root: Path) -> None:
        box = Sandbox(root)
        box.prepare()
        box.run(["/bin/sh", "-c", program], what="asking", heard=said.append)
        for line in said:
            namespace.tell(line)

    heard: list[str] = []
    namespace.in_namespace(
        lambda: namespace.in_union(shop.store, steps, work / "union/root", ask),
        network=False, hear=heard.append,
    )  # fmt: skip
    return "\n".join(heard)


def test_systemd_finds_the_root_up_to_date(pair: tuple[Shop, list[str]], tmp_path: Path) -> None:
    # systemd's own test of the condition, of which 0 means that it holds.
    ask = "systemd-analyze condition ConditionNeedsUpdate={} 2>&1 | tail -1; "
    program = ask.format("/etc") + ask.format("/var")
    said = inside(pair[0], tmp_path / "a", program)
    assert said == "Conditions failed.\nConditions failed."
    # And it would have noticed.
    stale = "touch -d '2024-01-01' /usr; " + program
    assert inside(pair[0], tmp_path / "b", stale) == "Conditions succeeded.\nConditions succeeded."


def test_progress_comes_out_of_the_namespace(shop: Shop, tmp_path: Path) -> None:
    done = shop.compose()
    assert done.status == 0, done.err
    lines = done.err.splitlines()
    assert "configuring the packages (94)" in lines
    assert lines.index("importing packages (94)") < lines.index("making the generated layer")


def taker(tmp_path: Path, script: str) -> str:
    """The `local` of two packages: one that takes, by `script`, what the other has."""
    victim = deb(tmp_path, "victim", {"usr/share/victim/a": "a", "usr/share/victim/b": "b",
                                      "etc/victim.conf": "c"})  # fmt: skip
    thief = deb(tmp_path, "thief", {"usr/share/victim/t": "t"}, postinst=script)
    return f"local: [{victim}, {thief}]\n"


def test_what_a_script_takes_away_is_refused(shop: Shop, tmp_path: Path) -> None:
    text = taker(tmp_path, "rm /usr/share/victim/a")
    before = shop.lists()
    said = shop.compose(text).refused("whiteout-found", 3)
    assert "/usr/share/victim/a" in said
    # Nor does leave for another path help.
    text += "allow-whiteouts: [/usr/share/victim, /usr/share/victim/b]\n"
    assert "/usr/share/victim/a" in shop.compose(text).refused("whiteout-found", 3)
    assert shop.lists() == before and shop.whole()


def test_an_allowed_whiteout_is_declared_in_the_list(shop: Shop, tmp_path: Path) -> None:
    text = taker(tmp_path, "rm /usr/share/victim/a")
    done = shop.compose(text + "allow-whiteouts: [/usr/share/victim/a]\n")
    assert done.status == 0, done.err
    system = read(shop)
    assert system.shadowings == (Shadowing("/usr/share/victim/a", "small-generated", "victim"),)
    assert "overlay-marker" not in shop.plan().out
    assert inside(shop, tmp_path / "root", "ls /usr/share/victim") == "b\nt"
    # Signed again without the declaration, the same packages must not boot.
    envelope = Signer(shop.keys / "list.key")(
        system._replace(generation=2, shadowings=()).encode(), PAYLOAD_TYPE
    )
    Store(shop.store).add_list("small", 2, envelope)
    planned = shop.plan()
    assert planned.status == 5
    marker = "small-generated has a marker at /usr/share/victim/a"
    assert marker in planned.out


def test_an_allowed_opaque_directory_is_declared_for_each_package(
    shop: Shop, tmp_path: Path
) -> None:
    script = "rm -r /usr/share/victim; mkdir /usr/share/victim; printf a > /usr/share/victim/a"
    text = taker(tmp_path, script)
    shop.compose(text).refused("whiteout-found", 3)
    done = shop.compose(text + "allow-whiteouts: [/usr/share/victim]\n")
    assert done.status == 0, done.err
    assert read(shop).shadowings == (
        Shadowing("/usr/share/victim", "small-generated", "victim"),
        Shadowing("/usr/share/victim", "small-generated", "thief"),
    )
    assert "overlay-marker" not in shop.plan().out
    # What it put there again is the same as the package's, and still there.
    assert inside(shop, tmp_path / "root", "ls /usr/share/victim; cat /usr/share/victim/a") == (
        "a\na"
    )


def test_a_failing_script_is_one_sentence(shop: Shop, tmp_path: Path) -> None:
    broken = deb(tmp_path, "broken", postinst="echo it went wrong >&2; exit 3")
    said = shop.compose(f"local: [{broken}]\n").refused("program-failed", 1)
    assert "it went wrong" in said and "broken" in said and "exit status 3" in said
    assert not shop.lists() and shop.whole()


def test_a_private_key_that_a_script_makes_is_refused(shop: Shop, tmp_path: Path) -> None:
    # Behind more than a mebibyte, and across the border of what is read at once.
    script = """head -c 1048566 /dev/zero > /etc/blob
printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1r\\n' >> /etc/blob"""
    text = f"local: [{deb(tmp_path, 'leaking', postinst=script)}]\n"
    assert "/etc/blob" in shop.compose(text).refused("secret-found", 3)
    assert not shop.lists() and shop.whole()


def test_every_package_of_a_list_has_the_format_that_is_asked_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    erofstools.put_first(monkeypatch, erofstools.directory())
    done = shop.compose("format: erofs\n")
    assert done.status == 0, done.err
    assert {layer.image.format for layer in read(shop).layers} == {"erofs"}


def test_created_is_source_date_epoch(shop: Shop) -> None:
    assert shop.compose(SOURCE_DATE_EPOCH="1700000001").status == 0
    assert read(shop).created == 1700000001


def test_a_wrong_source_date_epoch_is_refused(shop: Shop) -> None:
    for wrong in ("", "yesterday", "-1", "²", "9" * 30):
        said = shop.compose(SOURCE_DATE_EPOCH=wrong).refused("environment-invalid", 3)
        assert "SOURCE_DATE_EPOCH" in said
    assert not shop.lists()


def test_a_full_disk_while_configuring_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    small = Shop(tmp_path / "small", shop.keys)
    small.store.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", small.store], check=True)
    try:
        subprocess.run(["cp", "-a", shop.store / "packages", small.store], check=True)
        before = sorted((small.store / "packages").iterdir())
        filling = deb(tmp_path, "filling", postinst="head -c 200m /dev/zero > /var/filled")
        said = small.compose(f"local: [{filling}]\n").refused("disk-full", 1)
        assert "no space left" in said
        assert not small.lists() and small.whole()
        # The package that was imported before it went wrong may stay.
        more = set((small.store / "packages").iterdir()) - set(before)
        assert {path.name.partition("_")[0] for path in more} == {"filling"}
    finally:
        subprocess.run(["umount", small.store], check=True)


def test_a_list_is_composed_with_an_index(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripts run over one, too, which leaves nothing; the plan and `verify` know of it."""
    erofstools.put_first(monkeypatch, erofstools.directory())
    done = shop.compose("union: index\n")
    assert done.status == 0, done.err
    system = read(shop)
    index = system.index_layer
    assert index is not None and {layer.image.format for layer in system.packages} == {"erofs"}
    assert [path.stem for path in (shop.store / "packages").glob("small-index*.erofs")] == [
        index.stem
    ]
    said = shop.plan().out
    assert "united   index: the list has an index" in said and index.image.root_hash[:12] in said
    trust = shop.keys / "trust"
    argv = [str(BOOTUNION), "verify", "small", "--store", str(shop.store), "--trust", str(trust)]
    assert "0 bad" in run(argv).out
    assert inside(shop, tmp_path / "root", "cat /etc/os-release").startswith("PRETTY_NAME")


@pytest.mark.parametrize(
    "text, words",
    [
        ("union: index\nformat: squashfs\n", "needs `format: erofs-uncompressed`"),
        ("union: index\noptional: [less]\n", "exclude each other"),
        ("union: both\n", "`union` is not one of layers, index"),
    ],
)
def test_what_an_index_cannot_be_composed_of_is_refused(shop: Shop, text: str, words: str) -> None:
    assert words in shop.compose(text).refused("system-invalid", 3)
