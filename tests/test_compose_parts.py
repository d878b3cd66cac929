"""The parts of composing that need no root: what is cleaned, searched and checked."""

import os
from pathlib import Path

import pytest

from bootunion import checks, contents, merge
from bootunion.contents import Entry
from bootunion.host import generated, privatekeys
from bootunion.host.members import Recorder
from bootunion.package import Image
from bootunion.systemlist import Layer, Shadowing, SystemList

KEYS = {
    "PKCS#8": b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n",
    "RSA": b"-----BEGIN RSA PRIVATE KEY-----\r\nMIIEowIBAAKCAQEA\r\n",
    "encrypted": b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
    "OpenSSH": b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n",
    "OpenPGP": b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQdGBGV\n",
    "OpenPGP with a header": b"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2\n\nlQdGBGV\n",
    "GnuPG": b"Key: (private-key (ecc (curve Ed25519)",
    "GnuPG, protected": b"(21:protected-private-key(3:ecc(5:curve",
}
NONE = {
    "public": b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n",
    "program": b'if line == "-----BEGIN PRIVATE KEY-----":\n    pass\n',
    "string": b"-----BEGIN PGP PRIVATE KEY BLOCK-----\\n",
    "card": b"(20:shadowed-private-key(3:rsa",
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("before", [0, 70_000, (1 << 20) - 40, (1 << 20) - 3, 3 << 20])
def test_private_keys_are_found_wherever_they_stand(kind: str, before: int, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\n" * before + KEYS[kind])
    assert privatekeys.holds_private_key(file)


@pytest.mark.parametrize("kind", NONE)
def test_what_only_speaks_of_keys_is_none(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (1 << 20) + NONE[kind])
    assert not privatekeys.holds_private_key(file)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_is_added_does_not_depend_on_the_umask(umask: int, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc/ssh").mkdir(parents=True)
    (upper / "etc/ssh/ssh_host_ed25519_key").touch()
    (upper / "etc").chmod(0o755)
    below = merge.merge([[
        *(Entry(path, contents.DIRECTORY, 0o755, os.getuid(), os.getgid())
          for path in ("", "etc", "usr", "var")),
        Entry("usr/lib/systemd/systemd", contents.FILE, 0o755, 0, 0),
    ]])  # fmt: skip
    before = os.umask(umask)
    try:
        generated.clean(upper, below)
    finally:
        os.umask(before)
    modes = {str(path.relative_to(upper)): path.stat().st_mode & 0o7777
             for path in upper.rglob("*")}  # fmt: skip
    wrong = {name: oct(mode) for name, mode in modes.items()
             if mode != (0o755 if (upper / name).is_dir() else 0o644)}  # fmt: skip
    assert wrong.pop("etc/machine-id") == "0o444"
    assert wrong.pop("etc/ssh", "") in ("", "0o700", "0o755")  # made by this test
    assert not wrong
    assert {"etc/.updated", "var/.updated", "usr",
            "etc/systemd/system/ssh.service.d/10-bootunion.conf"} <= modes.keys()  # fmt: skip


def system(shadowings: tuple[Shadowing, ...]) -> SystemList:
    image = Image("squashfs", 4096, 1, 8192, "0" * 64, "0" * 64)
    names = ("top", "middle", "bottom")
    layers = tuple(Layer(name, "1", "all", image) for name in names)
    return SystemList("x", 1, 0, 0, "amd64", "", layers, "volatile", "0" * 64,
                      shadowings=shadowings)  # fmt: skip


WHITEOUT = Entry("a", contents.CHARACTER, 0, 0, 0)
OPAQUE = Entry("a", contents.DIRECTORY, 0o755, 0, 0,
               xattrs=(("trusted.overlay.opaque", "79"),))  # fmt: skip
REDIRECT = OPAQUE._replace(xattrs=(("user.overlay.redirect", "2f62"),))
THERE = Entry("a", contents.DIRECTORY, 0o755, 0, 0)


@pytest.mark.parametrize("marker", [WHITEOUT, OPAQUE, REDIRECT])
def test_plan_refuses_markers_that_the_list_does_not_declare(marker: Entry) -> None:
    root = Entry("", contents.DIRECTORY, 0o755, 0, 0)
    merged = merge.merge([[root, marker], [root, THERE], [root, THERE]])

    def fatal(*shadowings: Shadowing) -> list[str]:
        return [one.text for one in checks.check(system(shadowings), merged, (None,) * 3)
                if one.code == "overlay-marker" and one.severity == checks.FATAL]  # fmt: skip

    middle, bottom = (Shadowing("/a", "top", name) for name in ("middle", "bottom"))
    assert len(fatal()) == 1
    assert "middle" in fatal(bottom)[0]
    assert "bottom" in fatal(middle)[0]
    assert fatal(Shadowing("/b", "top", "middle"), bottom)
    assert fatal(middle._replace(winner="bottom"), bottom)
    assert not fatal(middle, bottom)


def test_a_marker_that_hides_nothing_is_refused_too() -> None:
    root = Entry("", contents.DIRECTORY, 0o755, 0, 0)
    merged = merge.merge([[root], [root], [root, WHITEOUT]])
    found = checks.check(system(()), merged, (None,) * 3)
    assert [one.severity for one in found if one.code == "overlay-marker"] == [checks.FATAL]


def test_a_package_keeps_no_marker_unless_it_may(tmp_path: Path) -> None:
    import io
    import tarfile

    from bootunion.errors import BootunionError

    def record(*markers: str) -> list[str]:
        recorder = Recorder("p", 0, markers)
        whiteout = tarfile.TarInfo("a")
        whiteout.type = tarfile.CHRTYPE
        opaque = tarfile.TarInfo("d")
        opaque.type = tarfile.DIRTYPE
        opaque.pax_headers = {"SCHILY.xattr.trusted.overlay.opaque": "y"}
        with tarfile.open(fileobj=io.BytesIO(), mode="w|") as archive:
            recorder.pass_on([(whiteout, None), (opaque, None)], archive)
        return sorted(recorder.entries)

    for markers in ((), ("a",), ("d",), ("A", "d/a")):
        with pytest.raises(BootunionError) as caught:
            record(*markers)
        assert caught.value.code == "overlay-marker"
    assert record("a", "d") == ["", "a", "d"]
