"""The agent: the program in the initramfs that turns a list into a root.

Nothing here starts another program or imports `bootunion.host`; every import costs every boot.
"""
