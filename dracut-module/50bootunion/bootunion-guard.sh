#!/bin/sh
# Without systemd, the last thing before the switch: whatever mounted $NEWROOT and however early, no
# root is switched to that the agent did not assemble.
# shellcheck disable=SC1091
type getarg > /dev/null 2>&1 || . /lib/dracut-lib.sh

if getarg bootunion= > /dev/null && ! grep -qs '"result": "assembled"' /run/bootunion/boot.json; then
    # It stops the machine itself, unless it is killed.
    /bin/sh /usr/lib/bootunion/bootunion-run || /bin/sh /usr/lib/bootunion/bootunion-stop
fi
