"""Hand-made ELF files: as little of one as says what it needs (elf(5))."""

import struct

X86_64 = 62
AARCH64 = 183


def elf(*needed: str, soname: str = "", interpreter: str = "", runpath: str = "",
        machine: int = X86_64, wide: bool = True, order: str = "<", rpath: str = "",
        padding: int = 0) -> bytes:  # fmt: skip
    """An ELF file; `padding` bytes stand between its strings and its dynamic section."""
    strings = b"\0"
    pairs = []
    tags = [(1, name) for name in needed]
    tags += [(14, soname), (15, rpath), (29, runpath)]
    for tag, text in tags:
        if text:
            pairs.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    header, one = (64, 56) if wide else (52, 32)
    count = 3 if interpreter else 2
    at = header + one * count
    program = interpreter.encode() + b"\0" if interpreter else b""
    base = 0x400000
    pairs = [*pairs, (5, base + at + len(program)), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack(order + ("qQ" if wide else "iI"), *pair) for pair in pairs)
    place = at + len(program) + len(strings) + padding
    parts = [(1, 0, place + len(dynamic)), (2, place, len(dynamic))]
    if interpreter:
        parts.insert(0, (3, at, len(program)))
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    form = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    made = ident + struct.pack(order + form, 3, machine, 1, 0, header, 0, 0, header, one, count,
                               0, 0, 0)  # fmt: skip
    for kind, offset, size in parts:
        if wide:
            fields = (kind, 4, offset, base + offset, base + offset, size, size, 8)
            made += struct.pack(order + "IIQQQQQQ", *fields)
        else:
            fields = (kind, offset, base + offset, base + offset, size, size, 4, 8)
            made += struct.pack(order + "IIIIIIII", *fields)
    return made + program + strings + bytes(padding) + dynamic
