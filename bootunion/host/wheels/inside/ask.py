"""Says what this interpreter is, as JSON. Its argument: the directory that `packaging` lies in."""

import importlib.util
import json
import os
import platform
import sys
import sysconfig

sys.path.insert(0, sys.argv[1])
from packaging import markers, tags

print(
    json.dumps({
        "executable": os.path.realpath(sys.executable),
        "in_venv": sys.prefix != sys.base_prefix,
        "version": platform.python_version(),
        "short": "{}.{}".format(*sys.version_info),
        "cache_tag": sys.implementation.cache_tag,
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "paths": sysconfig.get_paths(),
        "tags": [str(tag) for tag in tags.sys_tags()],
        "markers": markers.default_environment(),
    })
)  # fmt: skip
