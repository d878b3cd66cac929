# Completion of bootunion for fish: the installed program itself says what fits.
command -q bootunion; and _BOOTUNION_COMPLETE=fish_source bootunion 2> /dev/null | source
