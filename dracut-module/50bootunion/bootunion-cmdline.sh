#!/bin/sh
# Where the store is on a device of its own there need not be a root=: dracut must not stop for it.
# shellcheck disable=SC2034,SC1091  # dracut reads root and rootok
type getarg > /dev/null 2>&1 || . /lib/dracut-lib.sh

if [ -z "$root" ] && getarg bootunion.store= > /dev/null; then
    root=bootunion
    rootok=1
fi
