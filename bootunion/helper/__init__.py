"""The helper: the socket-activated service that mounts for people without privileges.

As the agent, it starts no other program and never imports `bootunion.host`: docs/helper.md.
"""
