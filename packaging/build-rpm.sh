#!/bin/sh
# Builds the RPM packages of a commit (default: HEAD) with rpmbuild, into a directory.
#     packaging/build-rpm.sh OUTPUT [COMMIT]
# On Debian too (packages rpm and rpmlint), where rpm's database knows no dependency.
set -eu
output=$(realpath -m "$1")
commit=${2:-HEAD}
cd "$(dirname "$0")/.."
version=$(sed -n 's/^Version: *//p' packaging/rpm/bootunion.spec)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/SOURCES"
git archive --format=tar.gz --prefix="bootunion-$version/" \
    -o "$work/SOURCES/bootunion-$version.tar.gz" "$commit"
git show "$commit:packaging/rpm/bootunion.spec" > "$work/bootunion.spec"
git show "$commit:packaging/rpm/rpmlint.toml" > "$work/rpmlint.toml"
skip=""
[ ! -e /etc/debian_version ] || skip=--nodeps
# shellcheck disable=SC2086  # words are meant
env -u VIRTUAL_ENV -u PYTHONPATH DEB_PYTHON_INSTALL_LAYOUT=deb_system \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin rpmbuild -bb $skip --define "_topdir $work" "$work/bootunion.spec"
rpmlint --config "$work/rpmlint.toml" "$work/bootunion.spec" "$work"/RPMS/*/*.rpm
mkdir -p "$output"
cp "$work"/RPMS/*/*.rpm "$output"
