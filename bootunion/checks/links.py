"""Symlinks that lead to nothing.

Thousands of a real system's do: into /proc and /run, into packages that are only recommended, in
documentation. What is made while the system runs is left out; what is not looked for by programs
is noted, once for each package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .finding import INFO, WARNING, Finding, and_more, found
from .root import Root

# Where targets come and go while the system runs (hier(7), file-hierarchy(7)).
_RUN_TIME = ("proc/", "sys/", "dev/", "run/", "tmp/", "var/", "mnt/", "media/", "home/", "root/",
             "srv/")  # fmt: skip
# Where somebody looks for what a symlink leads to.
_USED = ("usr/bin/", "usr/sbin/", "usr/libexec/", "usr/local/bin/", "usr/local/sbin/",
         "usr/lib/systemd/", "usr/lib/udev/", "usr/lib/modules/", "etc/alternatives/",
         "etc/systemd/", "etc/ssl/certs/")  # fmt: skip
_LIBRARY = re.compile(r"usr/lib(?:32|64|x32)?/(?:[^/]+-linux-[^/]+/)?[^/]+\Z")
_SHOWN = 3


def check(root: Root, *, composed: bool) -> Iterator[Finding]:
    """Findings about dangling symlinks, one for each package and severity.

    Until a list is composed, any may lead to what maintainer scripts make, such as alternatives.
    """
    groups: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for path in root.symlinks:
        trail = root.follow(path)
        if trail.found is not None or f"{trail.missing}/".startswith(_RUN_TIME):
            continue
        used = path.startswith(_USED) or _LIBRARY.match(path) is not None
        severity = WARNING if used and composed else INFO
        layer = root.paths[path][0]
        groups.setdefault((severity, layer), []).append((path, trail.missing))
    for (severity, layer), links in sorted(groups.items()):
        links.sort()
        package = root.names[layer]
        shown = ", ".join(f"/{path} leads to /{missing}" for path, missing in links[:_SHOWN])
        more = and_more(max(0, len(links) - _SHOWN), "of it do")
        text = f"{package}: {shown}, which no package has{more}"
        yield found("symlink-dangling", links[0][0], package, text, severity=severity)
