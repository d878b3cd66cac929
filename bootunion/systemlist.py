"""The system list: the signed, ordered list of packages that make one root."""

from __future__ import annotations

from . import canonical, package
from .errors import BootunionError
from .fields import HEX_DIGEST, Fields
from .package import Image
from .spelling import DIGITS, LETTERS, LOWER, Spelling
from .values import NamedTuple

SCHEMA = 1
SCHEMA_INDEXED = 2
"""The schema of a list with an index: an older agent refuses it, and boots another generation."""

SCHEMA_SEALED = 3
"""The schema of a list that states the fs-verity digest of a package; it may have an index."""

PAYLOAD_TYPE = "application/vnd.bootunion.list+json"
MAX_SIZE = 8 << 20
"""Bytes of the largest list file that is read: over 10,000 layers."""

MAX_LAYERS = 500
"""Lower layers that one overlay takes (OVL_MAX_STACK, fs/overlayfs/params.h)."""

MAX_INDEXED = 10_000
"""Layers of a list that has an index; EROFS itself takes 65,535 devices (erofs_fs.h, device_id)."""

MAX_GENERATION = (1 << 53) - 1  # JSON readers that use doubles agree up to here
MAX_TIME = 1 << 40

LIST_NAME = Spelling(LOWER + DIGITS, f"{LOWER}{DIGITS}._-", 64)
KERNEL_RELEASE = Spelling(LETTERS + DIGITS, f"{LETTERS}{DIGITS}.+~_-", 64, least=0)
GENERATION = Spelling(DIGITS[1:], DIGITS, 16)
"""A generation as it stands in file names."""

UPPER_VOLATILE = "volatile"
UPPER_NONE = "none"
UPPER_PERSISTENT = "persistent"
UPPERS = (UPPER_VOLATILE, UPPER_NONE, UPPER_PERSISTENT)
REQUIRED = "required"
OPTIONAL = "optional"
EIO = "eio"
RESTART = "restart"
PANIC = "panic"
CORRUPTIONS = (EIO, RESTART, PANIC)
"""What a block that does not fit its root hash does to the running machine."""

DEFAULT_TRIES = 3
MAX_TRIES = 100
# systemd.unit(5): letters, digits, ":-_.\@"; a type behind the last dot.
_UNIT_NAME = Spelling("", f"{LETTERS}{DIGITS}:_.\\@-", 200)
_UNIT_TYPES = ("service", "socket", "target", "mount", "path", "timer")
_CODE = "list-invalid"


def is_unit(text: str) -> bool:
    """Whether `text` is the name of a unit that a machine can wait for."""
    name, dot, kind = text.rpartition(".")
    return bool(dot) and kind in _UNIT_TYPES and _UNIT_NAME.match(name)


def generated_name(list_name: str) -> str:
    """The name of the generated layer that composing makes for a list."""
    return f"{list_name}-generated"


def index_name(list_name: str) -> str:
    """The name of the index that composing makes for a list."""
    return f"{list_name}-index"


class Layer(NamedTuple):
    """One package in its place. `need` is `required` or `optional`."""

    name: str
    version: str
    architecture: str
    image: Image
    need: str = REQUIRED

    @property
    def stem(self) -> str:
        """File name of the package's files, without suffix."""
        return package.file_stem(self.name, self.version, self.architecture, self.image.root_hash)

    @property
    def file_name(self) -> str:
        """File name of the image in the store's `packages/`."""
        return self.stem + self.image.suffix

    def as_json(self) -> dict[str, object]:
        """The layer as it stands in a list."""
        return {
            "name": self.name,
            "version": self.version,
            "architecture": self.architecture,
            "file": self.file_name,
            "need": self.need,
            **self.image.as_json(),
        }


class Shadowing(NamedTuple):
    """An approved shadowing: `winner` (a package name) may hide `loser`'s `path`."""

    path: str
    winner: str
    loser: str


class SystemList(NamedTuple):
    """A system list. `layers` are top first; `created` and `expires` are seconds since 1970.

    `expires` 0 means never, `kernel` "" that no kernel release is required. `namespace` is the
    digest of the merged namespace (see `merge.Namespace.digest`). `tries` bounds the boots that do
    not end with the generation marked good (0: no bound), `corruption` is one of `CORRUPTIONS`,
    `good_when` the units that must be up before the generation is marked good. `index_layer` is the
    image of the merged namespace, whose files lie in the layers' images (docs/formats.md).
    """

    name: str
    generation: int
    floor: int
    created: int
    architecture: str
    kernel: str
    layers: tuple[Layer, ...]
    upper: str
    namespace: str
    expires: int = 0
    shadowings: tuple[Shadowing, ...] = ()
    tries: int = DEFAULT_TRIES
    corruption: str = EIO
    good_when: tuple[str, ...] = ()
    index_layer: Layer | None = None

    @property
    def title(self) -> str:
        """The list as sentences name it."""
        return f"list {self.name} generation {self.generation}"

    @property
    def packages(self) -> tuple[Layer, ...]:
        """Every package that the list needs: its layers, and the index behind them."""
        return (*self.layers, self.index_layer) if self.index_layer else self.layers

    @property
    def schema(self) -> int:
        """The lowest schema that can say what the list says."""
        if any(layer.image.fsverity for layer in self.packages):
            return SCHEMA_SEALED
        return SCHEMA_INDEXED if self.index_layer else SCHEMA

    def encode(self) -> bytes:
        """The payload that is signed."""
        return canonical.encode(
            {
                "schema": self.schema,
                "name": self.name,
                "generation": self.generation,
                "floor": self.floor,
                "created": self.created,
                "expires": self.expires,
                "architecture": self.architecture,
                "kernel": self.kernel,
                "layers": [layer.as_json() for layer in self.layers],
                "upper": self.upper,
                "shadowings": [one._asdict() for one in self.shadowings],
                "namespace": self.namespace,
                "tries": self.tries,
                "corruption": self.corruption,
                "good_when": list(self.good_when),
                **({"index": self.index_layer.as_json()} if self.index_layer else {}),
            }
        )


def decode(payload: bytes, *, subject: str) -> SystemList:
    """The list in a payload whose signature was checked.

    Raises BootunionError list-invalid, or json-invalid.
    """
    fields = Fields(canonical.decode(payload, subject=subject), code=_CODE, subject=subject)
    schema = fields.integer("schema", SCHEMA, SCHEMA_SEALED)
    indexed = schema != SCHEMA and fields.has("index")
    most = MAX_INDEXED if indexed else MAX_LAYERS
    generation = fields.integer("generation", 1, MAX_GENERATION)
    result = SystemList(
        name=fields.text("name", pattern=LIST_NAME),
        generation=generation,
        floor=fields.integer("floor", 0, generation),
        created=fields.integer("created", 0, MAX_TIME),
        architecture=fields.text("architecture", pattern=package.ARCHITECTURE),
        kernel=fields.text("kernel", pattern=KERNEL_RELEASE),
        layers=tuple(_layer(one) for one in fields.objects("layers", most)),
        upper=fields.choice("upper", UPPERS),
        namespace=fields.text("namespace", pattern=HEX_DIGEST),
        expires=fields.integer("expires", 0, MAX_TIME),
        shadowings=tuple(_shadowing(one) for one in fields.objects("shadowings", 1 << 16)),
        tries=fields.integer("tries", 0, MAX_TRIES),
        corruption=fields.choice("corruption", CORRUPTIONS),
        good_when=fields.texts("good_when", most=64),
        index_layer=_layer(fields.object("index")) if indexed else None,
    )
    fields.done()
    if not result.layers:
        raise fields.wrong("is empty", "layers")
    if result.schema != schema:
        raise fields.wrong(f"is {schema}, and the list says what {result.schema} is for", "schema")
    _refuse_twins(result.packages, fields)
    _check_index(result, fields)
    for unit in result.good_when:
        if not is_unit(unit):
            raise fields.wrong(f"holds {unit[:80]!r}, which is no unit", "good_when")
    return result


def _layer(fields: Fields) -> Layer:
    layer = Layer(
        fields.text("name", pattern=package.NAME),
        fields.text("version", pattern=package.VERSION),
        fields.text("architecture", pattern=package.ARCHITECTURE),
        Image.take(fields),
        fields.choice("need", (REQUIRED, OPTIONAL)),
    )
    # The file's name follows from the other fields, so there is no path to be led astray by.
    if fields.take("file") != layer.file_name:
        raise fields.wrong(f"is not {layer.file_name}", "file")
    fields.done()
    return layer


def _check_index(system: SystemList, fields: Fields) -> None:
    """An index points into the image of every layer: none of them can be left out."""
    if system.index_layer is None:
        return
    if system.index_layer.name != index_name(system.name):
        raise fields.wrong(f"is not called {index_name(system.name)}", "index")
    for layer in system.packages:
        image = layer.image
        if (image.format, image.root, layer.need) != (package.EROFS, "/", REQUIRED):
            text = f"holds {layer.stem}: with an index each is a required EROFS of its own"
            raise fields.wrong(text, "layers")


def _shadowing(fields: Fields) -> Shadowing:
    result = Shadowing(
        fields.text("path", limit=4096),
        fields.text("winner", pattern=package.NAME),
        fields.text("loser", pattern=package.NAME),
    )
    fields.done()
    return result


def _refuse_twins(layers: tuple[Layer, ...], fields: Fields) -> None:
    seen: set[str] = set()
    for layer in layers:
        if layer.image.root_hash in seen:
            raise fields.wrong(f"holds {layer.stem} twice", "layers")
        seen.add(layer.image.root_hash)


def check_place(found: SystemList, name: str, generation: int, *, subject: str) -> None:
    """Refuse a list that is stored under another name or generation (list-misplaced)."""
    if (found.name, found.generation) != (name, generation):
        raise BootunionError(
            "list-misplaced",
            f"the signed list is {found.name} generation {found.generation}",
            subject=subject,
        )
