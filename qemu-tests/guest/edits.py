"""What a cell does to a store: damages, one function for each boot or fake root alike."""

import os


def flip(data: bytes, offset: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[offset] ^= 1 << bit
    return bytes(changed)


def edit(store: str, kind: str, path: str, *arguments: object, files: str) -> None:
    place = f"{store}/{path}"
    data = b""
    if os.path.isfile(place):
        with open(place, "rb") as file:
            data = file.read()
    new = {
        "flip": lambda: flip(data, *arguments),  # type: ignore[arg-type]
        "truncate": lambda: data[: arguments[0]],  # type: ignore[misc]
        "empty": lambda: b"",
        "extend": lambda: data + str(arguments[0]).encode(),
        "write": lambda: open(f"{files}/{arguments[0]}", "rb").read(),
        "text": lambda: str(arguments[0]).encode(),
        "from": lambda: open(f"{store}/{arguments[0]}", "rb").read(),
    }
    if kind in new:
        content = new[kind]()
        remove(place)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(content)
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    moved = f"{store}/moved-away"
    if kind == "symlink":
        copy(place, moved)
    remove(place)
    if kind == "symlink":
        os.symlink("../" * path.count("/") + "moved-away", place)
    elif kind == "link":
        os.symlink(str(arguments[0]), place)
    elif kind == "directory":
        os.mkdir(place)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "sparse":
        write(place, b"")
        os.truncate(place, arguments[0])  # type: ignore[arg-type]
    else:
        assert kind == "remove", kind


def copy(source: str, target: str) -> None:
    if os.path.isdir(source):  # overlayfs renames no directory of a lower layer
        os.mkdir(target)
        for name in os.listdir(source):
            copy(f"{source}/{name}", f"{target}/{name}")
    else:
        with open(source, "rb") as file:
            write(target, file.read())


def write(place: str, data: bytes) -> None:
    with open(place, "wb") as file:
        file.write(data)


def remove(place: str) -> None:
    if os.path.isdir(place) and not os.path.islink(place):
        for name in os.listdir(place):
            remove(f"{place}/{name}")
        os.rmdir(place)
    elif os.path.lexists(place):
        os.unlink(place)
