"""bootunion: a root file system that is a signed list of packages.

The modules at this level are the model: bytes and values in, values out. Both the agent
(`bootunion.initrd`) and the host tools (`bootunion.host`) import them; they import neither.
"""

__version__ = "0.1.0"
