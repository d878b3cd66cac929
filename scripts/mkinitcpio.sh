#!/bin/sh
# Fetches the real mkinitcpio and lays it out for a Debian root; nothing of it is committed.
# usage: scripts/mkinitcpio.sh TARGET [REPOSITORY]
#
# It brings busybox where Arch has it. Debian's busybox-static would prefer its applets to the programs
# beside them, so it is the package `busybox`.
set -eu
target=$1
repository=${2:-https://gitlab.archlinux.org/archlinux/mkinitcpio/mkinitcpio.git}

source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git clone --quiet --depth 1 "$repository" "$source/mkinitcpio"
cd "$source/mkinitcpio"
library="$target/usr/lib/initcpio"
mkdir -p "$library" "$target/usr/bin" "$target/etc"
cp -r install hooks init init_functions functions "$library/"
cp mkinitcpio "$target/usr/bin/"
chmod 755 "$target/usr/bin/mkinitcpio" "$library/init" "$library/hooks"/*
version=$(git log -1 --format=%h)
find "$target/usr/bin/mkinitcpio" "$library" -type f -exec sed -i \
    -e "s|@VERSION@|git $version|; s|@INITCPIO_LIBDIR@|/usr/lib/initcpio|" \
    -e 's|@INITCPIO_SYSCONFDIR@|/etc/initcpio|; s|@SYSCONFDIR@|/etc|; s|@BINDIR@|/usr/bin:/usr/sbin|' \
    -e 's|@UDEVD_PATH@|/usr/lib/systemd/systemd-udevd|; s|@TMPFILES_PATH@|/usr/bin/systemd-tmpfiles|' \
    {} +
cd "$source"
apt-get -qq download busybox
dpkg-deb -x busybox_*.deb busybox
cp "$(find busybox -path '*bin/busybox')" "$library/busybox"
