#!/bin/sh
# Installs what bootunion's demo and tests need on Debian 12: packages through apt-get, then a
# virtual environment with locked versions. Does nothing where everything is there. With the word
# `packages` also what builds packages for Debian, Arch and RPM, with `bench` what `make bench` needs.
set -eu
cd "$(dirname "$0")/.."

packages="bash-completion chromium cpio cryptsetup-bin dpkg-dev e2fsprogs faketime fdisk fish fsverity gcc groff-base kmod
libudev1 mandoc mmdebstrap python3 python3-cryptography python3-pyudev python3-venv qemu-system-x86 shellcheck squashfs-tools
squashfuse systemd udev util-linux zsh zstd"
# Either of its packages will do, and they exclude each other.
command -v busybox > /dev/null || packages="$packages busybox-static"
if [ "${1:-}" = packages ]; then
    packages="$packages debhelper dh-python fakeroot lintian makepkg pacman-package-manager
        pybuild-plugin-pyproject python3-all python3-click python3-hatchling python3-pyroute2
        python3-rich python3-yaml python3-zstandard rpm rpmlint"
fi
[ "${1:-}" != bench ] || packages="$packages libc6-dev dash"

missing=""
for package in $packages; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^ii' \
        || missing="$missing $package"
done
if [ -n "$missing" ]; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "installing$missing" >&2
    $as_root apt-get -qq update
    # shellcheck disable=SC2086  # a list of words is meant
    DEBIAN_FRONTEND=noninteractive $as_root apt-get -qq install --no-install-recommends --yes \
        $missing > /dev/null
fi

stamp=.venv/locked
if ! cmp -s requirements.lock "$stamp"; then
    rm -rf .venv
    /usr/bin/python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    cp requirements.lock "$stamp"
fi

# What the lock does not have: nobody but the benchmark draws.
if [ "${1:-}" = bench ] && ! .venv/bin/python -c 'import matplotlib' 2> /dev/null; then
    .venv/bin/pip install --quiet --disable-pip-version-check 'matplotlib>=3.8'
fi
