"""Wheels become packages: what `pip install` would have put below /usr/local, as an image.

`interpreter` asks the Python that will run what is in it for its scheme, tags and markers;
`archive` reads a wheel, which nobody has to trust, as a zip file; `record` and `describing` read
what the wheel says of itself; `unpacking` gives the members of the package. Formats:
packaging.python.org, "Binary distribution format" (PEP 427, PEP 491) and "Recording installed
projects" (PEP 376, PEP 627).
"""

from __future__ import annotations

PREFIX = "wheel-"
"""What the package of a project's wheel begins with.

Not as the project: `attr`, `lz4` and others are a distribution's packages, too.
"""
