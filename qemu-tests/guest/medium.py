"""Where a cell's store lies: an overlay over the good one, or, sealed, an ext4 of the cell's own.

Files that are sealed with fs-verity cannot be written to; what is damaged of them is damaged in the
file system's image, below the mounted file system's feet.
"""

import fcntl
import os
import struct

from edits import edit, remove

from bootunion.initrd import loop, mount

_FIEMAP = struct.Struct("=QQIIII")  # include/uapi/linux/fiemap.h
_EXTENT = struct.Struct("=QQQQQIIII")
_FS_IOC_FIEMAP = 0xC020660B
_MOST_EXTENTS = 64
_TREE_ALIGNED = 65536  # ext4 keeps the tree behind the file's end (fs/ext4/verity.c)
_RAW = ("raw", "raw-tree")


class Overlay:
    """The store in an overlay, whose upper takes the edits."""

    def __init__(self, work: str, sysroot: str) -> None:
        self.work, self.sysroot = work, sysroot
        os.makedirs("/base", exist_ok=True)
        mount.mount("/dev/vda", "/base", "ext4", mount.MS_RDONLY)

    def prepare(self, edits: list[list[object]]) -> None:
        for name in ("upper", "work"):
            remove(f"{self.work}/{name}")
            os.makedirs(f"{self.work}/{name}")
        options = f"lowerdir=/base,upperdir={self.work}/upper,workdir={self.work}/work,metacopy=off"
        mount.mount("store", self.sysroot, "overlay", 0, options)
        for one in edits:
            edit(self.sysroot, *one, files="/cells/files")  # type: ignore[arg-type]

    @property
    def written(self) -> str:
        """Where what the agent wrote into the store can be read."""
        return f"{self.work}/upper"

    def release(self) -> None:
        pass


class Sealed:
    """An ext4 with sealed packages: a copy of it in memory for each cell."""

    def __init__(self, work: str, sysroot: str) -> None:
        from bootunion.host import sealing

        self._seal = sealing
        self.sysroot, self.written = sysroot, f"{work}/medium"
        self._good, self._image = f"{work}/good.img", f"{work}/cell.img"
        os.makedirs(self.written)
        mount.mount("/dev/vda", self.written, "ext4")
        packages = f"{self.written}/packages"
        for name in sorted(os.listdir(packages)):
            if name.endswith(".erofs"):
                assert sealing.seal(f"{packages}/{name}"), name
        mount.unmount(self.written)
        with open("/dev/vda", "rb") as disk:
            _copy(disk, self._good)

    def prepare(self, edits: list[list[object]]) -> None:
        with open(self._good, "rb") as good:
            _copy(good, self._image)
        self._mount(0)
        below = []
        for kind, path, *more in edits:
            place = f"{self.written}/{path}"
            if kind in _RAW:
                offset = int(more[0])  # type: ignore[call-overload]
                if kind == "raw-tree":
                    size = os.stat(place).st_size
                    offset += size + -size % _TREE_ALIGNED
                below.append(_place(place, offset))
            elif kind == "seal":
                assert self._seal.seal(place)
            elif kind == "seal-otherwise":
                assert _seal_otherwise(place)
            else:
                edit(self.written, kind, path, *more, files="/cells/files")
        mount.unmount(self.written)
        with open(self._image, "r+b") as image:
            for offset in below:
                image.seek(offset)
                byte = image.read(1)[0]
                image.seek(offset)
                image.write(bytes([byte ^ 1]))
        self._mount(mount.MS_RDONLY)
        tree = mount.clone_path(self.written)
        mount.attach(tree, self.sysroot)
        os.close(tree)

    def _mount(self, flags: int) -> None:
        with open(self._image, "r+b") as image:
            device, path = _writable_loop(image.fileno())
        mount.mount(path, self.written, "ext4", flags)
        os.close(device)  # the mount holds it

    def release(self) -> None:
        mount.unmount(self.written, mount.MNT_DETACH)


def _writable_loop(image: int) -> tuple[int, str]:
    """As `loop.Control.attach`, but for a store that is written to."""
    control = os.open("/dev/loop-control", os.O_RDWR)
    path = f"/dev/loop{fcntl.ioctl(control, loop.LOOP_CTL_GET_FREE)}"
    os.close(control)
    device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    # struct loop_config: file, block size; all that follows is empty but the flags.
    config = struct.pack("=II52xI240x", image, 4096, loop.LO_FLAGS_AUTOCLEAR)
    fcntl.ioctl(device, loop.LOOP_CONFIGURE, config)
    return device, path


def _copy(source: object, target: str) -> None:
    """A copy with holes where there is nothing but zeros."""
    remove(target)
    with open(target, "wb") as file:
        while data := source.read(1 << 16):  # type: ignore[attr-defined]
            if data.count(0) == len(data):
                file.seek(len(data), os.SEEK_CUR)
            else:
                file.write(data)
        file.truncate(file.tell())


def _place(path: str, offset: int) -> int:
    """The byte of the file system's image that holds byte `offset` of a file."""
    with open(path, "rb") as file:
        request = bytearray(_FIEMAP.pack(0, 1 << 62, 1, 0, _MOST_EXTENTS, 0))
        request += bytes(_EXTENT.size * _MOST_EXTENTS)
        fcntl.ioctl(file, _FS_IOC_FIEMAP, request)
    for number in range(_FIEMAP.unpack_from(request)[3]):
        at = _FIEMAP.size + number * _EXTENT.size
        logical, physical, length, *_ = _EXTENT.unpack_from(request, at)
        if logical <= offset < logical + length:
            return int(physical + offset - logical)
    raise ValueError(f"{path} has no byte {offset} on the disk")


def _seal_otherwise(path: str) -> bool:
    """Seal a file with blocks of 1,024 bytes: another digest of the same bytes."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x40806685, struct.pack("=IIIIQIIQ88x", 1, 1, 1024, 0, 0, 0, 0, 0))
    finally:
        os.close(fd)
    return True
