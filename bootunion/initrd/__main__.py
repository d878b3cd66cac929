"""`python3 -I -S -E -m bootunion.initrd`."""

import sys

from .agent import main

sys.exit(main(sys.argv[1:]))
