"""The manifest: the signed description of one package (DESIGN.md §4, docs/formats.md)."""

from __future__ import annotations

from . import canonical, package
from .errors import BootunionError
from .fields import TEXT_LIMIT, Fields
from .package import Image
from .values import NamedTuple

SCHEMA = 1
SCHEMA_SEALED = 2
"""The schema of a package whose fs-verity digest is stated."""

PAYLOAD_TYPE = "application/vnd.bootunion.manifest+json"
MAX_SIZE = 1 << 20
"""Bytes of the largest manifest file that is read."""

SOURCE_KINDS = ("deb", "directory", "generated", "index", "wheel")
MAX_CONTENTS = 1 << 30
_NOT_IN_A_FILE_NAME = frozenset("/\x7f").union(map(chr, range(32)))
_CODE = "manifest-invalid"


class Source(NamedTuple):
    """Where a package came from: `kind`, the file's name and its SHA-256 (hex).

    A directory has no single file: its `sha256` is the digest of the tar stream made of it.
    """

    kind: str
    file: str
    sha256: str


class Contents(NamedTuple):
    """Digest (SHA-256, hex) and size (bytes) of the contents file as stored, compressed."""

    sha256: str
    size: int


class Manifest(NamedTuple):
    """One package. `depends` and `provides` are as the source states them."""

    name: str
    version: str
    architecture: str
    description: str
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    image: Image
    source: Source
    contents: Contents

    @property
    def stem(self) -> str:
        """File name of the package's three files, without suffix."""
        return package.file_stem(self.name, self.version, self.architecture, self.image.root_hash)

    @property
    def file_name(self) -> str:
        """File name of the image."""
        return self.stem + self.image.suffix

    def encode(self) -> bytes:
        """The payload that is signed."""
        return canonical.encode(
            {
                "schema": SCHEMA_SEALED if self.image.fsverity else SCHEMA,
                "name": self.name,
                "version": self.version,
                "architecture": self.architecture,
                "description": self.description,
                "depends": list(self.depends),
                "provides": list(self.provides),
                "image": self.image.as_json(),
                "source": self.source._asdict(),
                "contents": self.contents._asdict(),
            }
        )


def decode(payload: bytes, *, subject: str) -> Manifest:
    """The manifest in a payload whose signature was checked.

    Raises BootunionError manifest-invalid, or json-invalid.
    """
    fields = Fields(canonical.decode(payload, subject=subject), code=_CODE, subject=subject)
    schema = fields.integer("schema", SCHEMA, SCHEMA_SEALED)
    image_fields = fields.object("image")
    image = Image.take(image_fields)
    if bool(image.fsverity) != (schema == SCHEMA_SEALED):
        raise fields.wrong(f"does not fit the schema {schema}", "image.fsverity")
    source_fields = fields.object("source")
    source = Source(
        source_fields.choice("kind", SOURCE_KINDS),
        _file_name(source_fields),
        source_fields.digest("sha256"),
    )
    contents_fields = fields.object("contents")
    contents = Contents(
        contents_fields.digest("sha256"), contents_fields.integer("size", 1, MAX_CONTENTS)
    )
    manifest = Manifest(
        fields.text("name", pattern=package.NAME),
        fields.text("version", pattern=package.VERSION),
        fields.text("architecture", pattern=package.ARCHITECTURE),
        fields.text("description", limit=TEXT_LIMIT),
        fields.texts("depends", most=4096),
        fields.texts("provides", most=4096),
        image,
        source,
        contents,
    )
    for part in (image_fields, source_fields, contents_fields, fields):
        part.done()
    return manifest


def _file_name(fields: Fields) -> str:
    name = fields.text("file", limit=255)
    if not _NOT_IN_A_FILE_NAME.isdisjoint(name):
        raise fields.wrong(f"has the impossible value {name[:80]!r}", "file")
    return name


def check_stem(manifest: Manifest, stem: str) -> None:
    """Refuse a manifest that is stored under another package's name (manifest-mismatch)."""
    if manifest.stem != stem:
        raise BootunionError(
            "manifest-mismatch", f"the manifest describes {manifest.stem}", subject=stem
        )
