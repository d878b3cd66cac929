#!/bin/sh
# Builds the Arch package of a commit (default: HEAD) with makepkg, into a directory.
#     packaging/build-arch.sh OUTPUT [COMMIT]
# On Debian too (packages makepkg and pacman-package-manager), where dependencies cannot be asked of pacman. makepkg refuses to
# run as root: it is then run as nobody, in a directory of nobody's. namcap is asked where it is:
# on Arch, or in build/namcap (scripts/namcap.sh).
set -eu
output=$(realpath -m "$1")
commit=${2:-HEAD}
cd "$(dirname "$0")/.."
version=$(sed -n 's/^pkgver=//p' packaging/arch/PKGBUILD)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git archive --format=tar.gz --prefix="bootunion-$version/" \
    -o "$work/bootunion-$version.tar.gz" "$commit"
git show "$commit:packaging/arch/PKGBUILD" > "$work/PKGBUILD"
as_user=""
if [ "$(id -u)" = 0 ]; then
    chown -R 65534:65534 "$work"
    as_user="setpriv --reuid=65534 --regid=65534 --clear-groups"
fi
skip=""
not_asked='^$'
PATH="$PWD/build/namcap/bin:$PATH"
if [ ! -e /etc/arch-release ]; then
    skip=--nodeps
    # Without Arch's packages namcap cannot know which of them a file needs.
    not_asked=' W: (dependency-not-needed|(library|python-module)-no-package-associated) '
fi
cd "$work"
# shellcheck disable=SC2086  # words are meant
env -u VIRTUAL_ENV -u PYTHONPATH DEB_PYTHON_INSTALL_LAYOUT=deb_system \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$work" PKGEXT=.pkg.tar.zst PACKAGER="bootunion developers <bootunion@localhost>" $as_user makepkg $skip --force
if command -v namcap > /dev/null; then
    namcap -m PKGBUILD ./*.pkg.tar.zst > namcap.said
    if grep -Ev "$not_asked" namcap.said; then exit 1; fi
    echo "namcap: no fault ($(wc -l < namcap.said) lines about packages that are not asked here)" >&2
fi
mkdir -p "$output"
cp "$work"/*.pkg.tar.zst "$output"
