#!/bin/sh
# Installs what bootunion's demo and tests need on Debian 12: packages through apt-get, then a
# virtual environment with locked versions. Does nothing where everything is there.
set -eu
cd "$(dirname "$0")/.."

packages="cpio cryptsetup-bin dpkg-dev e2fsprogs faketime fdisk gcc kmod libudev1
python3 python3-cryptography python3-pyudev python3-venv qemu-system-x86 shellcheck squashfs-tools
systemd udev util-linux zstd"

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
