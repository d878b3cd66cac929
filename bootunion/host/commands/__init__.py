"""The commands of the command line, a module for each kind of thing they are about."""
