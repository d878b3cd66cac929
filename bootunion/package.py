"""What a package is called and what its image is.

Names end up in file names, device names and messages, so their alphabet is closed: no slash, no
white space, no control character, no leading dot or dash can occur.
"""

from __future__ import annotations

from . import verity
from .errors import BootunionError
from .fields import Fields
from .spelling import DIGITS, LETTERS, LOWER, Spelling
from .values import NamedTuple

MANIFEST_SUFFIX = ".json"
CONTENTS_SUFFIX = ".contents"
SQUASHFS = "squashfs"
EROFS = "erofs"
FORMATS = (SQUASHFS, EROFS)
"""Images' formats, by the kernel's names of the file systems. A file's suffix is its format's."""

EROFS_UNCOMPRESSED = "erofs-uncompressed"
"""How people ask for an EROFS that an index can point into; to the kernel it is an EROFS."""

EROFS_ZSTD = "erofs-zstd"
"""An EROFS as small as a squashfs, for Linux 6.10 and later."""

IMAGE_FORMATS = (*FORMATS, EROFS_ZSTD, EROFS_UNCOMPRESSED)
"""What people can ask for; `file_system` has the format of the image that it makes."""

MAX_SIZE = verity.file_size(verity.MAX_DATA_BLOCKS)  # bytes of an image file

# Debian and Arch names and versions fit. A Debian version's epoch colon is allowed; file names
# and overlay's option string never see it, because `file_stem` percent-encodes it.
_ALPHANUMERIC = LETTERS + DIGITS
NAME = Spelling(_ALPHANUMERIC, f"{_ALPHANUMERIC}.+_@-", 128)
VERSION = Spelling(_ALPHANUMERIC, f"{_ALPHANUMERIC}.+~_:^-", 128)
ARCHITECTURE = Spelling(LOWER + DIGITS, f"{LOWER}{DIGITS}_-", 32)
FILE_NAME = Spelling(_ALPHANUMERIC, f"{_ALPHANUMERIC}.+~_@%^-", 251)


class Image(NamedTuple):
    """One image file as lists and manifests describe it.

    `size` and `hash_offset` are bytes, `data_blocks` counts blocks of 4096 bytes, `salt` and
    `root_hash` are lower-case hex, `root` is the directory inside the image where the package's
    tree begins. `fsverity` is the fs-verity digest of the whole file (hex), "" when none is stated.
    """

    format: str
    size: int
    data_blocks: int
    hash_offset: int
    salt: str
    root_hash: str
    root: str = "/"
    fsverity: str = ""

    @property
    def suffix(self) -> str:
        """What the image's file name ends with."""
        return f".{self.format}"

    def as_json(self) -> dict[str, object]:
        """The fields as they stand in a manifest's `image` and in a list's layer."""
        return {
            "format": self.format,
            "size": self.size,
            "data_blocks": self.data_blocks,
            "data_block_size": verity.BLOCK_SIZE,
            "hash_block_size": verity.BLOCK_SIZE,
            "hash_offset": self.hash_offset,
            "salt": self.salt,
            "root_hash": self.root_hash,
            "root": self.root,
            **({"fsverity": self.fsverity} if self.fsverity else {}),
        }

    def agrees(self, other: Image) -> bool:
        """Whether two descriptions can be of one file: an older one states no `fsverity`."""
        if not (self.fsverity and other.fsverity):
            return self._replace(fsverity="") == other._replace(fsverity="")
        return self == other

    @classmethod
    def take(cls, fields: Fields) -> Image:
        """Read the image's fields out of `fields`, checking that the sizes fit each other.

        The kernel is handed these numbers: they are bounded here, before it sees them.
        """
        kind = fields.choice("format", FORMATS)
        data_blocks = fields.integer("data_blocks", 1, verity.MAX_DATA_BLOCKS)
        size, offset = verity.file_size(data_blocks), verity.hash_offset(data_blocks)
        fields.constant("size", size)
        fields.constant("data_block_size", verity.BLOCK_SIZE)
        fields.constant("hash_block_size", verity.BLOCK_SIZE)
        fields.constant("hash_offset", offset)
        return cls(
            kind,
            size,
            data_blocks,
            offset,
            fields.digest("salt"),
            fields.digest("root_hash"),
            _root(fields),
            # Of an EROFS only: the kernel mounts no other file without a block device.
            fields.digest("fsverity") if kind == EROFS and fields.has("fsverity") else "",
        )


def _root(fields: Fields) -> str:
    """The directory inside the image: "/", or one directly below."""
    root = fields.text("root")
    if root != "/" and not (root[:1] == "/" and len(root) <= 129 and FILE_NAME.match(root[1:])):
        raise fields.wrong(f"has the impossible value {root[:80]!r}", "root")
    return root


def file_system(image_format: str) -> str:
    """The image's format for one of `IMAGE_FORMATS`."""
    return EROFS if image_format.startswith(EROFS) else image_format


def check_name(name: str) -> str:
    """`name`, when a package may be called that. Raises BootunionError name-invalid."""
    if not NAME.match(name):
        raise BootunionError("name-invalid", f"{name!r} is not a package name", subject=name)
    return name


def check_version(version: str, name: str) -> str:
    """`version`, when package `name` may have it. Raises BootunionError name-invalid."""
    if not VERSION.match(version):
        raise BootunionError("name-invalid", f"{version!r} is not a version", subject=name)
    return version


def check_architecture(architecture: str, name: str) -> str:
    """`architecture`, when it is spelt like one. Raises BootunionError name-invalid."""
    if not ARCHITECTURE.match(architecture):
        raise BootunionError(
            "name-invalid", f"{architecture!r} is not an architecture", subject=name
        )
    return architecture


def file_stem(name: str, version: str, architecture: str, root_hash: str) -> str:
    """The file name, without its suffix, that a package is stored under."""
    escaped = version.replace(":", "%3a")
    return f"{name}_{escaped}_{architecture}_{root_hash[:16]}"
