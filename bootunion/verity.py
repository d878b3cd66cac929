"""dm-verity: the hash tree, its superblock and the kernel's table line.

The format is the one of `veritysetup format` (hash type 1): documented in the kernel's
Documentation/admin-guide/device-mapper/verity.rst and, for the superblock, in cryptsetup's
on-disk format page. `veritysetup verify` and the kernel read what this module writes.
"""

from __future__ import annotations

import struct

from .values import NamedTuple

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BLOCK_SIZE = 4096
"""Bytes in a data block and in a hash block; the only size that bootunion uses."""

DIGEST_SIZE = 32  # SHA-256
SALT_SIZE = 32
MAX_DATA_BLOCKS = 1 << 32  # 16 TiB: far beyond any package, far below what would overflow

_PER_BLOCK = BLOCK_SIZE // DIGEST_SIZE
# signature, version, hash type, UUID, algorithm, data and hash block size, data blocks,
# salt size, 6 bytes of padding, salt; 168 bytes of padding complete the 512 bytes.
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s168x")
_SIGNATURE = b"verity\0\0"


class Tree(NamedTuple):
    """A finished hash tree: `root_hash` and `salt` in lower-case hex, `blocks` as stored."""

    root_hash: str
    salt: str
    data_blocks: int
    blocks: bytes


class Superblock(NamedTuple):
    """The fields of a verity superblock that can vary."""

    uuid: bytes
    data_blocks: int
    salt: str


def derive_salt(content_sha256: bytes) -> bytes:
    """The salt of a package, from the SHA-256 of its file system image.

    A random salt would give the same content another name on each machine.
    """
    import hashlib  # noqa: PLC0415 - who only makes tables does without

    return hashlib.sha256(b"bootunion verity salt\0" + content_sha256).digest()


def derive_uuid(salt: bytes) -> bytes:
    """The superblock's UUID (16 bytes, RFC 9562 version 8), derived from the salt."""
    import hashlib  # noqa: PLC0415 - who only makes tables does without

    raw = bytearray(hashlib.sha256(b"bootunion verity uuid\0" + salt).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def level_sizes(data_blocks: int) -> list[int]:
    """Blocks in each level of the tree, from the one above the data to the topmost.

    A single data block has no level: the root hash is the hash of that block
    (drivers/md/dm-verity-target.c, verity_ctr).
    """
    sizes = []
    count = data_blocks
    while count > 1:
        count = -(-count // _PER_BLOCK)
        sizes.append(count)
    return sizes


def hash_offset(data_blocks: int) -> int:
    """Byte where the superblock starts: right behind the data."""
    return data_blocks * BLOCK_SIZE


def file_size(data_blocks: int) -> int:
    """Bytes of a whole package file: data, superblock block, tree."""
    blocks, count = data_blocks + 1, data_blocks
    while count > 1:  # as `level_sizes`, which is asked less often
        count = -(-count // _PER_BLOCK)
        blocks += count
    return blocks * BLOCK_SIZE


def build_tree(blocks: Iterable[bytes], salt: bytes) -> Tree:
    """Hash `blocks`, each of exactly `BLOCK_SIZE` bytes, up to the root.

    Raises ValueError for a block of another size or when there is none.
    """
    hash_block = salted(salt)
    digests = []
    for block in blocks:
        if len(block) != BLOCK_SIZE:
            raise ValueError(f"a block of {len(block)} bytes")
        digests.append(hash_block(block))
    if not digests:
        raise ValueError("no data to hash")
    data_blocks = len(digests)
    levels = []
    while len(digests) > 1:
        level = [
            b"".join(digests[start : start + _PER_BLOCK]).ljust(BLOCK_SIZE, b"\0")
            for start in range(0, len(digests), _PER_BLOCK)
        ]
        levels.append(b"".join(level))
        digests = [hash_block(block) for block in level]
    # The topmost level comes first in the file, as the kernel reads it.
    return Tree(digests[0].hex(), salt.hex(), data_blocks, b"".join(reversed(levels)))


def salted(salt: bytes) -> Callable[[bytes], bytes]:
    """What hashes a block of a tree with this salt."""
    import hashlib  # noqa: PLC0415 - who only makes tables does without

    # Copying a state that has the salt in it saves hashing the salt for each block.
    start = hashlib.sha256(salt)

    def hash_block(block: bytes) -> bytes:
        state = start.copy()
        state.update(block)
        return state.digest()

    return hash_block


def pack_superblock(salt: bytes, data_blocks: int) -> bytes:
    """The block that stands between data and tree, `BLOCK_SIZE` bytes."""
    packed = _SUPERBLOCK.pack(
        _SIGNATURE,
        1,  # superblock version
        1,  # hash type: the salt goes before the block
        derive_uuid(salt),
        b"sha256",
        BLOCK_SIZE,
        BLOCK_SIZE,
        data_blocks,
        len(salt),
        salt,
    )
    return packed.ljust(BLOCK_SIZE, b"\0")


def unpack_superblock(block: bytes) -> Superblock:
    """Read a superblock. Raises ValueError saying what is wrong with it.

    Only host tools call this: the agent takes every parameter from the signed list.
    """
    if len(block) < _SUPERBLOCK.size:
        raise ValueError("the superblock is cut short")
    fields = _SUPERBLOCK.unpack_from(block)
    signature, version, kind, uuid, algorithm, data_size, hash_size, count, salt_size, salt = fields
    if signature != _SIGNATURE:
        raise ValueError("no verity superblock where the list says it is")
    if (version, kind) != (1, 1) or algorithm.rstrip(b"\0") != b"sha256":
        raise ValueError("the superblock names another version or hash than SHA-256, type 1")
    if (data_size, hash_size) != (BLOCK_SIZE, BLOCK_SIZE):
        raise ValueError(f"the superblock's block sizes are {data_size}/{hash_size}")
    if salt_size > len(salt):
        raise ValueError("the superblock's salt is longer than its field")
    return Superblock(uuid, count, salt[:salt_size].hex())


CORRUPTION_OPTIONS = {
    "eio": "",
    "restart": "1 restart_on_corruption",
    "panic": "1 panic_on_corruption",
}
"""The target's optional parameters by what a list says of corruption: a count, then the words."""


def table_line(
    device: str, data_blocks: int, root_hash: str, salt: str, *, options: str = ""
) -> str:
    """The parameters of the kernel's `verity` target for a package on `device`.

    Data and tree are on the same device. `options` is the text of optional parameters, such as
    those of `CORRUPTION_OPTIONS`.
    """
    line = (
        f"1 {device} {device} {BLOCK_SIZE} {BLOCK_SIZE} {data_blocks} {data_blocks + 1} "
        f"sha256 {root_hash} {salt or '-'}"
    )
    return f"{line} {options}" if options else line


def is_table(text: str, data_blocks: int, root_hash: str, salt: str,
             corruptions: Iterable[str]) -> bool:  # fmt: skip
    """Whether a live target's parameters are a package's, with one of `corruptions`.

    The device is free, as long as data and hash tree are on the same one.
    """
    words = text.split()
    device = words[1] if len(words) > 1 else ""
    return any(
        words == table_line(device, data_blocks, root_hash, salt,
                            options=CORRUPTION_OPTIONS[one]).split()
        for one in corruptions
    )  # fmt: skip


def blocks_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream of chunks into blocks, the last one padded with zeros."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        whole = len(data) - len(data) % BLOCK_SIZE
        for start in range(0, whole, BLOCK_SIZE):
            yield data[start : start + BLOCK_SIZE]
        rest = data[whole:]
    if rest:
        yield rest.ljust(BLOCK_SIZE, b"\0")
