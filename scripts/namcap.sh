#!/bin/sh
# Fetches Arch's namcap, which no Debian has, and installs it into a virtual environment; nothing of
# it is committed. packaging/build-arch.sh asks it when it is in build/namcap.
# usage: scripts/namcap.sh TARGET [NAMCAP [PYALPM]]
#
# The commits are namcap 3.6.0, the newest for Debian 12's Python, and pyalpm for its libalpm. Needs
# libalpm-dev libarchive-dev libcurl4-openssl-dev libgpgme-dev libssl-dev pkgconf python3-dev gcc.
set -eu
target=$(realpath -m "$1")
namcap=${2:-https://gitlab.archlinux.org/pacman/namcap.git}
pyalpm=${3:-https://gitlab.archlinux.org/archlinux/pyalpm.git}

source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git clone --quiet "$namcap" "$source/namcap"
git -C "$source/namcap" checkout --quiet 61e1b264ee8ff819152d7b024554aca1a0a211bd
git clone --quiet "$pyalpm" "$source/pyalpm"
git -C "$source/pyalpm" checkout --quiet 6a0b75dac7151dfa2ea28f368db22ade1775ee2b
data="$target/share"
mkdir -p "$data/spdx"
cp "$source/namcap/namcap-tags" "$source/namcap/parsepkgbuild.sh" "$data"
# Its own places are /usr/share/namcap and those of Arch's package `licenses`.
grep -rlZ /usr/share "$source/namcap/Namcap" "$source/namcap/scripts" \
    | xargs -0 sed -i -e "s|/usr/share/namcap|$data|g; s|/usr/share/licenses|$data|g"
/usr/bin/python3 -m venv "$target"
"$target/bin/pip" install --quiet --disable-pip-version-check \
    setuptools wheel pkgconfig license-expression pyelftools
for one in pyalpm namcap; do  # in this order: namcap's own set-up imports the other
    "$target/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation "$source/$one"
done
"$target/bin/python" - "$data" <<'END'
import pathlib, sys
from license_expression import get_spdx_licensing

data = pathlib.Path(sys.argv[1])
known = get_spdx_licensing().known_symbols.items()
for name, wanted in {"identifiers": False, "exceptions": True}.items():
    keys = sorted(key for key, symbol in known if symbol.is_exception is wanted)
    (data / f"known_spdx_license_{name}.txt").write_text("\n".join(keys) + "\n")
# Those whose text Arch has once for all packages.
(data / "spdx/GPL-3.0-or-later.txt").touch()
END
