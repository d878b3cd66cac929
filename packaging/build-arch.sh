#!/bin/sh
# Builds the Arch package of a commit (default: HEAD) with makepkg, into a directory.
#     packaging/build-arch.sh OUTPUT [COMMIT]
# On Debian too (packages makepkg and pacman-package-manager), where dependencies cannot be asked of pacman. makepkg refuses to
# run as root: it is then run as nobody, in a directory of nobody's.
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
[ -e /etc/arch-release ] || skip=--nodeps
cd "$work"
# shellcheck disable=SC2086  # words are meant
env -u VIRTUAL_ENV -u PYTHONPATH DEB_PYTHON_INSTALL_LAYOUT=deb_system \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$work" PKGEXT=.pkg.tar.zst PACKAGER="bootunion developers <bootunion@localhost>" $as_user makepkg $skip --force
mkdir -p "$output"
cp "$work"/*.pkg.tar.zst "$output"
if command -v namcap > /dev/null; then namcap PKGBUILD ./*.pkg.tar.zst; fi
