"""The matrix: what is damaged, how, and what the agent must say and boot then.

The store has two good generations; each cell damages what only generation 2 has, unless it says
otherwise. So the agent must refuse 2 with the cell's code and boot 1, and never what was damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import tiny
import trustcells
from cellkinds import Cell, Edit, Files, refused
from tiny import Tiny

from bootunion import canonical, dsse, package, systemlist, verity
from bootunion.host.signing import Signer
from bootunion.state import State
from bootunion.systemlist import SystemList

LIST_2 = f"lists/{tiny.LIST}/2.json"
CURRENT = f"lists/{tiny.LIST}/current"


def all_cells(good: Tiny, files: Files) -> list[Cell]:
    """Every cell of the matrix that runs on a fake root."""
    return [
        *_good(),
        *_replaced("list", LIST_2, other=f"lists/{tiny.LIST}/1.json", other_code="list-misplaced"),
        *_list_bytes(good),
        *_signatures(good, files),
        *_signed_nonsense(good, files),
        *_other_lists(good, files),
        *_directories(),
        *_current(),
        *_images(good),
        *_blocks(good),
        *_manifests(good),
        *_optional(good),
        *_memory(good, files),
        *trustcells.cells(good, files, LIST_2),
    ]


def image_cells(good: Tiny) -> list[Cell]:
    """The cells that depend on the images' format."""
    return [*_good(), *_images(good), *_blocks(good), *_optional(good)]


def index_cells(good: Tiny) -> list[Cell]:
    """The cells of a list with an index: damage of the index, and of packages below one."""
    return [*_good(), *_index(good), *_below_an_index(good)]


def sealed_cells(good: Tiny) -> list[Cell]:
    """The cells of packages that are sealed with fs-verity and mounted as files.

    Edits that replace a file leave it unsealed: dm-verity has to find those, as ever.
    """
    return [*image_cells(good), *_sealed(good)]


def _sealed(good: Tiny) -> Iterator[Cell]:
    """Damage below the file system, where fs-verity alone looks; and files sealed anew."""
    system = tiny.read_list(good, 2)
    path, image = _image_path(system), system.layers[0].image
    yield refused("sealed, superblock: magic", ("raw", path, 1024), "verity-io")
    yield refused("sealed, superblock: a table's place", ("raw", path, 1024 + 40), "verity-io")
    for block in (image.data_blocks // 3, image.data_blocks // 2):
        yield Cell(f"sealed, data block {block}", (("raw", path, block * 4096 + 99),),
                   (), 2, "eio")  # fmt: skip
    # Nobody reads dm-verity's part of a file that is mounted as it is.
    yield Cell("sealed, verity superblock", (("raw", path, image.hash_offset),), (), 2)
    yield Cell("sealed, hash tree", (("raw", path, image.hash_offset + 4096 + 5),), (), 2)
    blocks = image.size // 4096
    levels = verity.level_sizes(blocks)
    assert len(levels) == 2
    yield refused("sealed, fs-verity's tree, top level", ("raw-tree", path, 5), "verity-io")
    yield refused("sealed, fs-verity's tree, lower level", ("raw-tree", path, 4096 + 5),
                  "verity-io")  # fmt: skip
    middle = 4096 * 2 + 32 * 40
    yield Cell(
        "sealed, fs-verity's tree, in the middle", (("raw-tree", path, middle),), (), 2, "eio"
    )
    descriptor = sum(levels) * 4096
    yield refused("sealed, fs-verity's descriptor: version", ("raw-tree", path, descriptor),
                  "file-invalid")  # fmt: skip
    yield refused("sealed, fs-verity's descriptor: root hash", ("raw-tree", path, descriptor + 16),
                  "verity-io")  # fmt: skip
    flipped = ("flip", path, 1024)
    yield refused("flipped and sealed anew", (flipped, ("seal", path)), "verity-io")
    flipped = ("flip", path, image.data_blocks // 2 * 4096)
    yield Cell("flipped in the middle and sealed anew", (flipped, ("seal", path)), (), 2, "eio")
    other = _image_path(tiny.read_list(good, 1))
    yield refused("another valid one, sealed", (("from", path, other), ("seal", path)), "verity-io")
    yield refused(
        "truncated and sealed", (("truncate", path, 4096), ("seal", path)), "file-changed"
    )
    again = (("from", path, path), ("seal-otherwise", path))
    yield Cell("sealed with other parameters", again, (), 2)


def _good() -> Iterator[Cell]:
    yield Cell("nothing is damaged", (), (), 2)
    yield Cell("an older generation is asked for", (), (), 1, cmdline="bootunion.generation=1")
    yield Cell(
        "a generation is asked for that is not there", (), ((9, "file-missing"),), 2,
        cmdline="bootunion.generation=9",
    )  # fmt: skip


def _replaced(what: str, path: str, *, other: str, other_code: str) -> Iterator[Cell]:
    yield refused(f"{what}: missing", ("remove", path), "file-missing")
    yield refused(f"{what}: a symlink", ("symlink", path), "file-invalid")
    yield refused(f"{what}: a directory", ("directory", path), "file-invalid")
    yield refused(f"{what}: a FIFO", ("fifo", path), "file-invalid")
    yield refused(f"{what}: another valid one", ("from", path, other), other_code)


def _list_bytes(good: Tiny) -> Iterator[Cell]:
    data = good.list_file(2).read_bytes()
    envelope = json.loads(data)
    invalid = "envelope-invalid"
    yield refused("list: emptied", ("empty", LIST_2), invalid)
    for part in (1, len(data) // 2, len(data) - 3):
        yield refused(f"list: truncated to {part} bytes", ("truncate", LIST_2, part), invalid)
    yield refused("list: extended by a byte", ("extend", LIST_2, "x"), invalid)
    yield refused("list: extended by itself", ("extend", LIST_2, data.decode()), invalid)
    start = data.index(b'"payload":"') + len(b'"payload":"')
    length = len(envelope["payload"])
    for place in (4, length // 3, length // 2, length - 8):
        for bit in (0, 1):
            # A flipped bit is another base64 letter, or no letter at all.
            letter = chr(data[start + place] ^ 1 << bit)
            code = "signature-invalid" if letter.isalnum() or letter in "+/" else invalid
            yield refused(
                f"list payload: bit {bit} of byte {place} flipped",
                ("flip", LIST_2, start + place, bit), code,
            )  # fmt: skip
    yield refused("list envelope: its first byte", ("flip", LIST_2, 0), invalid)
    yield refused(
        "list envelope: a key's name", ("flip", LIST_2, data.index(b'"payloadType"') + 3), invalid
    )
    yield refused(
        "list envelope: the payload's type",
        ("flip", LIST_2, data.index(b"vnd.bootunion.list") + 4), invalid,
    )  # fmt: skip
    signature = data.index(b'"sig":"') + len(b'"sig":"')
    for place in (0, 20, 60, 85):
        letter = chr(data[signature + place] ^ 1)
        # The last letter before the padding has bits that mean nothing: not canonical.
        code = "signature-invalid" if letter.isalnum() and place < 85 else invalid
        yield refused(f"list signature: byte {place}", ("flip", LIST_2, signature + place), code)
    key_id = data.index(b'"keyid":"') + len(b'"keyid":"')
    digit = chr(data[key_id] ^ 1)
    code = "signature-untrusted" if digit in "0123456789abcdef" else invalid
    yield refused("list key id: a bit", ("flip", LIST_2, key_id), code)
    yield refused("list: 1 GiB", ("sparse", LIST_2, 1 << 30), "file-too-large")
    yield refused("list: nested 100,000 deep", ("text", LIST_2, "[" * 100_000), invalid)
    yield refused(
        "list envelope: a key twice",
        ("text", LIST_2, data.decode().replace('{"payload"', '{"payloadType":"x","payload"', 1)),
        invalid,
    )


def _signatures(good: Tiny, files: Files) -> Iterator[Cell]:
    envelope = dsse.decode(good.list_file(2).read_bytes(), subject="x")

    def sealed(*signatures: dsse.Signature) -> tuple[Edit, ...]:
        changed = envelope._replace(signatures=signatures)
        return (("write", LIST_2, files.add(changed.encode())),)

    def by(key: str) -> dsse.Signature:
        message = dsse.pre_authentication(envelope.payload_type, envelope.payload)
        return Signer(good.keys / key).sign(message)

    untrusted = "signature-untrusted"
    yield refused("no signature", sealed(), untrusted)
    yield refused("wrong role: a package signer", sealed(by("package.key")), untrusted)
    stranger = Signer(good.directory / "stranger/list.key")
    message = dsse.pre_authentication(envelope.payload_type, envelope.payload)
    yield refused("an unknown key", sealed(stranger.sign(message)), untrusted)
    yield refused(
        "an unknown key that says it is the known one",
        sealed(stranger.sign(message)._replace(key_id=by("list.key").key_id)), "signature-invalid",
    )  # fmt: skip
    # A good signature more, and one too many of somebody else's, change nothing.
    yield Cell("the same signature twice", sealed(by("list.key"), by("list.key")), (), 2)
    yield Cell("a stranger signed, too", sealed(stranger.sign(message), by("list.key")), (), 2)


def _resigned(good: Tiny, files: Files, payload: bytes) -> tuple[Edit, ...]:
    signed = Signer(good.keys / "list.key")(payload, systemlist.PAYLOAD_TYPE)
    return (("write", LIST_2, files.add(signed)),)


def _signed_nonsense(good: Tiny, files: Files) -> Iterator[Cell]:
    """What a trusted key signed and is no list all the same."""
    raw = json.loads(tiny.read_list(good, 2).encode())

    def changed(name: str, change: Callable[[dict[str, Any]], object], code: str) -> Cell:
        fresh = json.loads(json.dumps(raw))
        change(fresh)
        payload = json.dumps(fresh).encode()
        return refused(f"signed: {name}", _resigned(good, files, payload), code)

    def layer(key: str, value: object) -> Callable[[dict[str, Any]], object]:
        return lambda one: one["layers"][0].update({key: value})

    invalid = "list-invalid"
    for name, file in {
        "a slash": "a/b.squashfs", "dots": "../../etc/passwd", "a NUL": "a\0b", "a newline": "a\nb",
        "another package's": raw["layers"][1]["file"], "nothing": "",
    }.items():  # fmt: skip
        yield changed(f"a file name with {name}", layer("file", file), invalid)
    yield changed("a name with a slash", layer("name", "a/b"), invalid)
    yield changed("a version with dots and a slash", layer("version", "1/../2"), invalid)
    for key in ("size", "data_blocks", "hash_offset", "data_block_size"):
        yield changed(f"{key} beyond 64 bits", layer(key, 1 << 70), "json-invalid")
        yield changed(f"{key} below 0", layer(key, -1), invalid)
        yield changed(f"{key} as a float", layer(key, 1.5), "json-invalid")
        yield changed(f"{key} of 2**63-1", layer(key, (1 << 63) - 1), invalid)
    yield changed("a root hash of 63 digits", layer("root_hash", "a" * 63), invalid)
    yield changed("a root with dots", layer("root", "/../.."), invalid)
    yield changed("an unknown format", layer("format", "ext4"), invalid)
    yield changed("a layer twice", lambda one: one["layers"].append(one["layers"][0]), invalid)
    yield changed("no layer", lambda one: one.update(layers=[]), invalid)
    yield changed("501 layers", lambda one: one.update(layers=one["layers"] * 126), invalid)
    yield changed(
        "100,000 layers", lambda one: one.update(layers=one["layers"] * 25_000), "file-too-large"
    )
    yield changed("an unknown field", lambda one: one.update(extra=1), invalid)
    yield changed("a missing field", lambda one: one.pop("floor"), invalid)
    yield changed("another schema", lambda one: one.update(schema=99), invalid)
    yield changed("a floor above the generation", lambda one: one.update(floor=3), invalid)
    yield changed("another unit than a unit", lambda one: one.update(good_when=["a b"]), invalid)
    nested: Any = 1
    for _ in range(200):
        nested = [nested]
    yield changed("nested 200 deep", lambda one: one.update(extra=nested), "json-invalid")
    twice = (
        tiny.read_list(good, 2)
        .encode()
        .replace(b'{"architecture"', b'{"name":"x","architecture"', 1)
    )
    yield refused("signed: a key twice", _resigned(good, files, twice), "json-invalid")
    yield refused("signed: nothing", _resigned(good, files, b""), "json-invalid")
    yield refused("signed: no JSON", _resigned(good, files, b"\xff\xfe"), "json-invalid")


def _other_lists(good: Tiny, files: Files) -> Iterator[Cell]:
    """Good lists that are not for this machine, now."""
    standard = tiny.read_list(good, 2)

    def other(what: str, code: str, **changes: Any) -> Cell:
        payload = standard._replace(**changes).encode()
        return refused(what, _resigned(good, files, payload), code)

    yield other("another machine's list", "list-misplaced", name="other")
    yield other("another generation", "list-misplaced", generation=3)
    yield other("another architecture", "architecture-mismatch", architecture="arm64")
    yield other("another kernel", "kernel-mismatch", kernel="6.12-other")
    yield other("expired", "list-expired", expires=1_700_000_100)
    yield other("an upper that cannot be had", "upper-unsupported", upper="persistent")
    payload = good.list_file(2).read_bytes()
    manifest_like = json.loads(payload) | {"payloadType": "application/vnd.bootunion.manifest+json"}
    yield refused(
        "a list as a manifest", ("write", LIST_2, files.add(canonical.encode(manifest_like))),
        "envelope-invalid",
    )  # fmt: skip
    stem = standard.layers[0].stem
    yield refused(
        "a manifest as a list", ("from", LIST_2, f"packages/{stem}.json"), "envelope-invalid"
    )


def _directories() -> Iterator[Cell]:
    for path in (f"lists/{tiny.LIST}", "lists", "packages"):
        for kind, edits in {
            "missing": (("remove", path),),
            "a symlink": (("symlink", path),),
            "a FIFO": (("fifo", path),),
        }.items():
            code = "file-missing" if kind == "missing" else "file-invalid"
            if path == "packages":
                yield Cell(f"packages/: {kind}", edits, ((2, code), (1, code)), 0,
                           stopped="no-generation-left")  # fmt: skip
            else:
                yield Cell(f"{path}/: {kind}", edits, (), 0, stopped=code, warnings=(code,))


def _current() -> Iterator[Cell]:
    for kind, edit in {
        "missing": ("remove", CURRENT), "emptied": ("empty", CURRENT),
        "garbage": ("text", CURRENT, "../../etc"), "negative": ("text", CURRENT, "-1"),
        "with an underscore": ("text", CURRENT, "1_0"), "a symlink": ("symlink", CURRENT),
        "a directory": ("directory", CURRENT), "a FIFO": ("fifo", CURRENT),
        "a mebibyte": ("sparse", CURRENT, 1 << 20),
    }.items():  # fmt: skip
        yield Cell(f"current: {kind}", (edit,), (), 2)
    yield Cell("current: an older one", (("text", CURRENT, "1"),), (), 1)
    yield Cell("current: one that is not there", (("text", CURRENT, "7"),),
               ((7, "file-missing"),), 2)  # fmt: skip


def _image_path(system: SystemList, index: int = 0) -> str:
    return f"packages/{system.layers[index].file_name}"


def _images(good: Tiny) -> Iterator[Cell]:
    system = tiny.read_list(good, 2)
    path, image = _image_path(system), system.layers[0].image
    other = _image_path(tiny.read_list(good, 1))
    yield from _replaced("package", path, other=other, other_code="verity-io")
    yield refused("package: another valid one of another size",
                  ("from", path, _image_path(system, 1)), "file-changed")  # fmt: skip
    yield from _sizes("package", path, image)


def _sizes(what: str, path: str, image: package.Image) -> Iterator[Cell]:
    yield refused(f"{what}: emptied", ("empty", path), "file-changed")
    for size in (4096, image.hash_offset, image.size - 1, image.size - 4096):
        yield refused(f"{what}: truncated to {size}", ("truncate", path, size), "file-changed")
    yield refused(f"{what}: extended by a byte", ("extend", path, "x"), "file-changed")
    yield refused(f"{what}: extended by a block", ("extend", path, "x" * 4096), "file-changed")


def _index(good: Tiny) -> Iterator[Cell]:
    system = tiny.read_list(good, 2)
    second = system.index_layer
    assert second is not None
    path = f"packages/{second.file_name}"
    # The other generation's index is the same: the same names, and they lie at the same places.
    yield from _replaced("index", path, other=_image_path(system), other_code="file-changed")
    yield from _sizes("index", path, second.image)
    data = (good.store / path).read_bytes()
    # erofs_super_block lies at 1024, the devices' slots behind it; then come the inodes, the root's
    # first (meta_blkaddr at 40).
    meta = int.from_bytes(data[1024 + 40 : 1024 + 44], "little") * 4096
    for name, at in {
        "superblock: magic": 1024, "superblock: the inodes' place": 1024 + 40,
        "superblock: the number of devices": 1024 + 86, "a device's slot": 1024 + 128 + 64,
        "the root directory": meta + 40,
    }.items():  # fmt: skip
        yield refused(f"index, {name}", ("flip", path, at), "verity-io")
    # Blocks of other inodes are read when somebody asks for them.
    last = second.image.hash_offset - 4096
    assert last > meta
    yield Cell("index, the last block of the inodes", (("flip", path, last + 8),), (), 2, "eio")
    top = second.image.hash_offset + 4096
    yield refused("index, hash tree", ("flip", path, top + 5), "verity-io")
    yield Cell("index, verity superblock", (("flip", path, second.image.hash_offset),), (), 2)


def _below_an_index(good: Tiny) -> Iterator[Cell]:
    """A package's blocks are read when a file of it is, and not for the mount."""
    system = tiny.read_list(good, 2)
    path, image = _image_path(system), system.layers[0].image
    for kind in ("missing", "a symlink", "a directory", "a FIFO"):
        edit = {"missing": "remove", "a symlink": "symlink", "a directory": "directory",
                "a FIFO": "fifo"}[kind]  # fmt: skip
        code = "file-missing" if kind == "missing" else "file-invalid"
        yield refused(f"package: {kind}", (edit, path), code)
    yield from _sizes("package", path, image)
    other = _image_path(tiny.read_list(good, 1))
    yield Cell("package: another valid one", (("from", path, other),), (), 2, "eio")
    yield Cell("package, superblock: nobody reads it", (("flip", path, 1024),), (), 2)
    for block in (image.data_blocks // 3, image.data_blocks // 2):
        yield Cell(f"package, data block {block}", (("flip", path, block * 4096 + 99),),
                   (), 2, "eio")  # fmt: skip
    top = image.hash_offset + 4096
    yield Cell("package, hash tree, top level", (("flip", path, top + 5),), (), 2, "eio")
    yield Cell("package, hash tree, lower level", (("flip", path, top + 4096 + 4096 + 5),),
               (), 2, "eio")  # fmt: skip


def _blocks(good: Tiny) -> Iterator[Cell]:
    system = tiny.read_list(good, 2)
    path, image = _image_path(system), system.layers[0].image
    data = (good.store / path).read_bytes()
    # squashfs_super_block and its inode table; erofs_super_block, at 1024, and its meta_blkaddr.
    kind = image.format
    magic, table = {package.SQUASHFS: (0, 64), package.EROFS: (1024, 1024 + 40)}[kind]
    yield refused(f"{kind} superblock: magic", ("flip", path, magic), "verity-io")
    yield refused(f"{kind} superblock: a table's place", ("flip", path, table), "verity-io")
    # A block in the middle holds the ballast: it is not read before somebody reads the file.
    for block in (image.data_blocks // 3, image.data_blocks // 2):
        for bit in (0, 7):
            yield Cell(f"data block {block}: bit {bit}", (("flip", path, block * 4096 + 99, bit),),
                       (), 2, "eio")  # fmt: skip
    used = int.from_bytes(data[40:48], "little")  # squashfs_super_block.bytes_used
    if kind == package.SQUASHFS and used < image.hash_offset:
        yield refused(
            "padding behind the squashfs", ("flip", path, image.hash_offset - 1), "verity-io"
        )
    # Every parameter comes from the signed list: the superblock on the disk is not even read.
    for name, offset in {"magic": 0, "algorithm": 32, "salt": 88, "padding": 4095}.items():
        yield Cell(
            f"verity superblock: {name}", (("flip", path, image.hash_offset + offset),), (), 2
        )
    levels = verity.level_sizes(image.data_blocks)
    assert len(levels) == 2, "the ballast is there to give the tree two levels"
    top = image.hash_offset + 4096
    yield refused("hash tree, top level", ("flip", path, top + 5), "verity-io")
    yield refused("hash tree, top level, padding", ("flip", path, top + 4095), "verity-io")
    lower = top + 4096
    first, second = (("flip", path, lower + block * 4096 + 32 * 40) for block in (0, 1))
    yield refused("hash tree, lower level, the superblock's", first, "verity-io")
    assert levels[0] > 2
    yield Cell("hash tree, lower level, in the middle", (second,), (), 2, "eio")
    last = image.size - 4096
    name, edit = "hash tree, lower level, last block's padding", ("flip", path, last + 4095)
    # squashfs has its tables at the end and reads them when it is mounted.
    at_mount = kind == package.SQUASHFS
    yield refused(name, edit, "verity-io") if at_mount else Cell(name, (edit,), (), 2, "eio")


def _manifests(good: Tiny) -> Iterator[Cell]:
    """The list says all that the boot needs: a manifest is not read, so its damage is harmless."""
    stem = f"packages/{tiny.read_list(good, 2).layers[0].stem}"
    for kind, edit in {
        "flipped": ("flip", f"{stem}.json", 50), "emptied": ("empty", f"{stem}.json"),
        "truncated": ("truncate", f"{stem}.json", 100), "missing": ("remove", f"{stem}.json"),
        "extended": ("extend", f"{stem}.json", "x"), "a symlink": ("symlink", f"{stem}.json"),
        "a FIFO": ("fifo", f"{stem}.json"), "a directory": ("directory", f"{stem}.json"),
    }.items():  # fmt: skip
        yield Cell(f"manifest: {kind}", (edit,), (), 2)
    yield Cell("contents: flipped", (("flip", f"{stem}.contents", 9),), (), 2)


def _optional(good: Tiny) -> Iterator[Cell]:
    path = _image_path(tiny.read_list(good, 2), 1)
    for kind, edit, code in (
        ("missing", ("remove", path), "file-missing"),
        ("truncated", ("truncate", path, 4096), "file-changed"),
        ("flipped", ("flip", path, 0), "verity-io"),
        ("a FIFO", ("fifo", path), "file-invalid"),
    ):
        yield Cell(f"optional package: {kind}", (edit,), (), 2, warnings=(code,), left_out=1)


def _memory(good: Tiny, files: Files) -> Iterator[Cell]:
    path = f"state/{tiny.LIST}.json"

    def remembered(**changes: Any) -> Edit:
        return ("write", path, files.add(State(**changes).encode()))

    yield refused("two tries of three", remembered(tries=((2, 3),)), "tries-exhausted")
    yield Cell("tries are left", (remembered(tries=((2, 2),)),), (), 2)
    worn = remembered(good=1, tries=((2, 3), (1, 3)))
    yield Cell("last resort: the last good one, worn out, too", (worn,),
               ((2, "tries-exhausted"), (1, "tries-exhausted")), 1)  # fmt: skip
    yield Cell("below the floor", (remembered(floor=2), ("text", CURRENT, "1")),
               ((1, "below-floor"),), 0, stopped="below-floor")  # fmt: skip
    yield Cell("the floor itself", (remembered(floor=2),), (), 2)
    standard = tiny.read_list(good, 2)._replace(expires=1_700_000_100)
    expired = _resigned(good, files, standard.encode())
    yield Cell("expired, but the last good one", (*expired, remembered(good=2)), (), 2,
               warnings=("list-expired",))  # fmt: skip
    yield refused("expired by a list's own date", (
        *_resigned(good, files, standard._replace(expires=5_000_000_000).encode()),
        remembered(time=5_000_000_001)), "list-expired")  # fmt: skip
    for kind, edit in {
        "flipped": (remembered(good=2), ("flip", path, 3)), "emptied": (("text", path, ""),),
        "no state": (("text", path, '{"schema":1}'),),
        "a symlink": (remembered(), ("symlink", path)),
        "a FIFO": (remembered(), ("fifo", path)),
        "a mebibyte": (remembered(), ("sparse", path, 1 << 20)),
    }.items():  # fmt: skip
        yield Cell(f"state: {kind}", edit, (), 2, warnings=("state-invalid",))
    yield Cell("state: a directory", (("directory", path),), (), 2,
               warnings=("state-invalid", "state-unwritable"))  # fmt: skip
    # Writing through this link would write into the initramfs.
    outside = (("link", "state", "/cells"),)
    yield Cell("state/: a symlink out of the store", outside, (), 2, warnings=("state-unwritable",))


def good_files(good: Tiny) -> dict[str, dict[str, str]]:
    """What each generation's files hash to, by path: what a right root reads as."""
    trees = good.directory / "trees"
    found: dict[str, dict[str, str]] = {}
    for generation in (1, 2):
        paths: dict[str, str] = {}
        for name in ("base", f"generation-{generation}"):
            for path in sorted((trees / name).rglob("*")):
                if path.is_file() and not path.is_symlink():
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    paths[f"/{path.relative_to(trees / name)}"] = digest
        found[str(generation)] = paths
    return found
