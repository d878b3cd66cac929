"""Process roots: what a process is to see, and how it comes to see it.

`searching` knows where packages lie, `selecting` which are meant, `viewing` what of the machine
stays visible beside them; `entering` makes the root and starts the program in it.
"""
