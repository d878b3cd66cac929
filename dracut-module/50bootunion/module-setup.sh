#!/bin/bash
# shellcheck disable=SC2154  # dracut sets $initdir, $hostonly, $moddir, $DRACUT_TMPDIR, $systemdsystemunitdir
# bootunion's dracut module: installs the agent, the trust store, and what starts the agent.

check() {
    require_binaries python3 || return 1
    # Only a machine that runs from a list gets it unasked; `--add bootunion` asks.
    [[ $hostonly && -e /run/bootunion/boot.json ]] && return 0
    return 255
}

depends() {
    echo rootfs-block
}

# What `dracut --print-cmdline` says on a machine that runs from a list: the words it was booted with.
# Its root is an overlay, of which dracut's own modules know no device.
cmdline() {
    [[ -e /run/bootunion/boot.json ]] || return 0
    local word words
    read -ra words < /proc/cmdline
    for word in "${words[@]}"; do
        case "$word" in
            root=* | rootflags=* | rootfstype=* | bootunion=* | bootunion.store=* \
                | bootunion.on-failure=*) printf ' %s' "$word" ;;
        esac
    done
}

installkernel() {
    # Whatever this host uses now: the booting machine needs these.
    hostonly='' instmods loop dm-mod dm-verity squashfs erofs overlay =crypto sha256 ext4
}

# The agent's files, as its own real import tells them (bootunion initramfs-files).
install_agent() {
    local staging="$DRACUT_TMPDIR/bootunion" source destination
    mkdir -p "$staging"
    python3 -m bootunion.host.closure "$staging" > "$staging.files" || {
        dfatal "bootunion: the agent's files could not be computed"
        exit 1
    }
    while IFS=$'\t' read -r source destination; do
        [[ -e $initdir$destination ]] && continue
        mkdir -p "$initdir${destination%/*}"
        # -L: a library is looked up by its soname, which is a link on this machine.
        cp -L --preserve=mode "$source" "$initdir$destination" || exit 1
    done < "$staging.files"
    # An image whose agent cannot start is found here, not on a machine far away.
    python3 -m bootunion.host.closure --smoke-test "$initdir" || exit 1
}

install() {
    install_agent
    inst_simple /etc/bootunion/trust/trust.json || {
        dfatal "bootunion: there is no trust store at /etc/bootunion/trust/trust.json"
        exit 1
    }
    inst_multiple modprobe udevadm grep sh cat umount sync sleep
    inst_hook cmdline 90 "$moddir/bootunion-cmdline.sh"
    inst_hook emergency 10 "$moddir/bootunion-emergency.sh"
    inst_hook shutdown-emergency 10 "$moddir/bootunion-emergency.sh"
    if dracut_module_included systemd; then
        # Required, not wanted: without the root of the list there is no boot, and no switch.
        local unit
        for unit in initrd-root-fs.target initrd-switch-root.service; do
            mkdir -p "$initdir$systemdsystemunitdir/$unit.requires"
            ln -sf ../bootunion-assemble.service "$initdir$systemdsystemunitdir/$unit.requires/"
        done
    else
        inst_hook mount 01 "$moddir/bootunion-mount.sh"
        inst_hook pre-pivot 99 "$moddir/bootunion-guard.sh"
    fi
}
