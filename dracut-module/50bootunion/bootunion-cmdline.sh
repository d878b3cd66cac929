#!/bin/sh
# shellcheck disable=SC2034,SC1091  # dracut reads root and rootok
type getarg > /dev/null 2>&1 || . /lib/dracut-lib.sh

if getarg bootunion= > /dev/null; then
    # dracut 059 keeps the type and the options of the root of the machine that made a hostonly image.
    # On one that ran from a list they are an overlay's, and root= names the store's device.
    if grep -qs 'rootfstype=overlay' /etc/cmdline.d/95root-dev.conf; then
        rm -f /etc/cmdline.d/95root-dev.conf
        # dracut has read them already: it has to look once more.
        # shellcheck disable=SC2154  # dracut-lib sets hookdir
        for bootunion_parser in "$hookdir"/cmdline/*-parse-root-opts.sh; do
            # shellcheck source=/dev/null
            [ -e "$bootunion_parser" ] && . "$bootunion_parser"
        done
    fi
    # Where the store is on a device of its own there need not be a root=: dracut must not stop.
    if [ -z "$root" ] && getarg bootunion.store= > /dev/null; then
        root=bootunion
        rootok=1
    fi
    # No prompt when dracut itself gives up, either. What stands on the kernel's own command line
    # comes later and wins.
    bootunion_action=$(getarg bootunion.on-failure=)
    case "$bootunion_action" in
        shell) ;;
        poweroff) echo "rd.shell=0 rd.emergency=poweroff" > /etc/cmdline.d/10-bootunion.conf ;;
        *) echo "rd.shell=0 rd.emergency=halt" > /etc/cmdline.d/10-bootunion.conf ;;
    esac
fi
