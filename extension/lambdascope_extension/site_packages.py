"""Finds the site-packages folder of the interpreter, which runs without `site` to start faster.

Called in the exporter's thread before `requests` is imported. In a layer the packages lie beside
ours, and what is found here comes after them.
"""

from __future__ import annotations

import posix
import sys


def add_site_packages() -> None:
    """Put the folders at the end of sys.path, once."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for folder in site_packages(sys.executable, sys.base_prefix, version):
        if folder not in sys.path:
            sys.path.append(folder)


def site_packages(executable: str, base_prefix: str, version: str) -> list[str]:
    """The folders of the virtual environment of `executable`, or else of the installation."""
    environment = executable.rpartition("/")[0].rpartition("/")[0]
    if posix.access(f"{environment}/pyvenv.cfg", posix.F_OK):
        return [f"{environment}/lib/python{version}/site-packages"]
    return [
        f"{base_prefix}/lib/python{version}/site-packages",
        f"{base_prefix}/local/lib/python{version}/dist-packages",  # Debian and Ubuntu
        f"{base_prefix}/lib/python3/dist-packages",
    ]
