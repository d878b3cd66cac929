#!/bin/sh
# Builds the Debian packages of a commit (default: HEAD) in a clean export, into a directory.
#     packaging/build-deb.sh OUTPUT [COMMIT]
# Needs debhelper, dh-python, pybuild-plugin-pyproject, python3-all, python3-hatchling, lintian and
# the packages that bootunion depends on.
set -eu
output=$(realpath -m "$1")
commit=${2:-HEAD}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bootunion"
git archive --format=tar "$commit" | tar -x -C "$work/bootunion"
cp -r "$work/bootunion/packaging/debian" "$work/bootunion/debian"
cd "$work/bootunion"
# The environment of a virtual machine or a checkout must not lead to another Python.
env -u VIRTUAL_ENV -u PYTHONPATH PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
    dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary
# The project has no public mail address: whoever uploads these packages puts theirs into them.
lintian --fail-on error,warning --display-info --allow-root \
    --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog \
    "$work"/bootunion_*.changes
mkdir -p "$output"
cp "$work"/*.deb "$output"
