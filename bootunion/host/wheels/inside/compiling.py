"""Compiles sources to .pyc files that are never checked against their source (PEP 552).

Standard input has, for each source, the lengths of its path and its text (32 bits each,
big-endian), the path and the text. Standard output gets the length of each .pyc, 0 for what cannot
be compiled, and its bytes.
"""

import importlib._bootstrap_external as external
import importlib.util
import struct
import sys
import warnings

warnings.simplefilter("ignore")
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
to_pyc = external._code_to_hash_pyc  # type: ignore[attr-defined]
sources = []
while head := read(8):
    lengths = struct.unpack(">II", head)
    sources.append((read(lengths[0]).decode("utf-8", "surrogateescape"), read(lengths[1])))
for path, source in sources:
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        made = to_pyc(code, importlib.util.source_hash(source), False)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        made = b""
    write(struct.pack(">I", len(made)) + made)
