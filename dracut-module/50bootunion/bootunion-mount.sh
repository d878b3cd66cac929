#!/bin/sh
# Without systemd. dracut's init looks after each mount hook whether $NEWROOT is a usable root, and
# unmounts what is not: a bare store is none. So this hook, the first, lets the others mount the
# store and assembles the root over it before dracut looks.
# shellcheck disable=SC2154,SC1091  # dracut sets $hookdir and $NEWROOT
type getarg > /dev/null 2>&1 || . /lib/dracut-lib.sh

if getarg bootunion= > /dev/null && [ ! -e /run/bootunion/boot.json ]; then
    for bootunion_hook in "$hookdir"/mount/*.sh; do
        case "$bootunion_hook" in *bootunion-mount.sh) continue ;; esac
        ismounted "$NEWROOT" && break
        # shellcheck disable=SC1090
        [ -f "$bootunion_hook" ] && . "$bootunion_hook"
    done
    if ismounted "$NEWROOT" || getarg bootunion.store= > /dev/null; then
        # It stops the machine itself, unless it is killed.
        /bin/sh /usr/lib/bootunion/bootunion-run || /bin/sh /usr/lib/bootunion/bootunion-stop
    fi
fi
