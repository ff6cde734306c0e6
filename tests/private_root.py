"""A private /opt and /var, as a layer and a managed runtime see them, which the host never sees.

Some paths are fixed: Lambda's extensions are started from /opt/extensions, its Python is at
/var/lang. So a command runs in a mount namespace of its own, in which folders of the test are bound
over /opt and /var (what the host has in there stays visible), and in a process namespace of its
own, so that nothing it started can outlive it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "extension" / "bin" / "lambdascope"
PACKAGES = (ROOT / "src" / "lambdascope", ROOT / "extension" / "lambdascope_extension")
# What `requests` needs.
DEPENDENCIES = ("requests", "urllib3", "idna", "certifi", "charset_normalizer")

_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child")
_AS_ROOT_OF_ITS_OWN = ("--user", "--map-root-user")
# Pairs of source and target up to "--", then the command.
_BIND = """
while [ "$1" != -- ]; do mount --rbind "$1" "$2" || exit 97; shift 2; done
shift
exec "$@"
"""


class PrivateRoot:
    """`opt` and `var` are folders to fill before `command` is run."""

    def __init__(self, folder: Path) -> None:
        self.opt = folder / "opt"
        self.var = folder / "var"
        self.opt.mkdir(mode=0o755)
        self.var.mkdir(mode=0o755)
        self._binds: list[tuple[Path, Path]] = []

    def bind(self, source: Path, target: Path) -> None:
        """Show the folder `source` at `target`, which is below `opt` or `var`."""
        target.mkdir(parents=True)
        self._binds.append((source, target))

    def link_extension(self) -> None:
        """The extension as a link into the repository."""
        (self.opt / "extensions").mkdir()
        (self.opt / "extensions" / STUB.name).symlink_to(STUB)

    def install_layer(self) -> None:
        """The extension, our packages and `requests` as copies, and this Python as Lambda's."""
        (self.opt / "extensions").mkdir()
        shutil.copy(STUB, self.opt / "extensions")
        installed = [_package(name) for name in DEPENDENCIES]
        for package in (*PACKAGES, *installed):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package, self.opt / "python" / package.name, ignore=ignored)
        self.bind(Path(sys.base_prefix), self.var / "lang")

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in there."""
        for private, public in ((self.opt, Path("/opt")), (self.var, Path("/var"))):
            self._keep(public, private)
            self._binds.append((private, public))
        pairs = [str(path) for bind in self._binds for path in bind]
        return [*namespace_command(), "sh", "-c", _BIND, "sh", *pairs, "--", *argv]

    def _keep(self, public: Path, private: Path) -> None:
        """What is in a folder of the host and not in ours stays there."""
        for entry in public.iterdir():
            ours = private / entry.name
            if ours.exists() or ours.is_symlink():
                continue
            if entry.is_symlink():
                ours.symlink_to(entry.readlink())
            elif entry.is_dir():
                self.bind(entry, ours)


@functools.cache
def namespace_command() -> tuple[str, ...]:
    """The command that runs another one in namespaces of its own; empty when none is permitted."""
    if shutil.which("unshare") is None:
        return ()
    for flags in (_NAMESPACES, (*_AS_ROOT_OF_ITS_OWN, *_NAMESPACES)):
        command = ("unshare", *flags)
        probe = [*command, "mount", "--rbind", "/opt", "/opt"]
        if subprocess.run(probe, capture_output=True, timeout=10).returncode == 0:
            return command
    return ()


def require_namespaces() -> None:
    """Skip the test, or fail it, where namespaces are not permitted."""
    if not namespace_command():
        _leave_out("mount and process namespaces are not permitted (neither as root nor with -r)")


def require_root() -> None:
    """Skip the test, or fail it, where processes of other users cannot be started."""
    if "--user" in namespace_command():
        _leave_out("the managed mode of AWS's emulator starts processes of another user: not root")


def _leave_out(reason: str) -> None:
    if os.environ.get("LAMBDASCOPE_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _package(name: str) -> Path:
    file = __import__(name).__file__
    assert file is not None
    return Path(file).parent
