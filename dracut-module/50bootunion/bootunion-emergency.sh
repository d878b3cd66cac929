#!/bin/sh
# dracut gave up before the agent ran: one sentence that says so, beside dracut's own.
if grep -q 'bootunion=' /proc/cmdline && [ ! -e /run/bootunion/boot.json ]; then
    echo "bootunion: STOPPED [store-missing] the store's device (root=) could not be mounted." \
        "Check the device and root= on the kernel command line." > /dev/console
fi
