"""Where the runtime finds the extension: a listener on loopback and the file that names it.

Both exist before the extension registers, because Lambda starts the runtime as soon as every
extension has registered. The file lies in a directory of its user alone and is replaced in one
step. Nothing here knows what is spoken on the listener.
"""

from __future__ import annotations

import posix
from _socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

LOOPBACK = "127.0.0.1"
# Connections wait in the kernel until the extension has finished its own start.
_BACKLOG = 128
_TYPE_MASK = 0o170000
_DIRECTORY = 0o040000


class Unpublished(Exception):
    """The file could not be written; the text says why and where."""


def listen(host: str, port: int) -> socket:
    """A non-blocking listener on `host`:`port` (0 = any free port). Raises OSError."""
    sock = socket(AF_INET, SOCK_STREAM)
    try:
        # A predecessor's connections in TIME_WAIT would otherwise keep the port for a minute.
        sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def publish(path: str, port: int, token: str) -> str:
    """Write the file and return its line. Raises Unpublished; then no file of ours is there."""
    line = f"{LOOPBACK}:{port} {token} {posix.getpid()}\n"
    try:
        _prepare_directory(path.rpartition("/")[0] or ".")
        _replace(path, line.encode())
    except OSError as error:
        withdraw(path, "")
        raise Unpublished(f"cannot write {path}: {error.strerror or error}") from None
    return line


def create_flight(path: str) -> int:
    """Make the flight file beside the rendezvous file, anew; its descriptor. Raises Unpublished.

    Before the rendezvous file: a runtime that finds that one looks for this one.
    """
    try:
        _prepare_directory(path.rpartition("/")[0] or ".")
        _remove(path)
        flags = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
        return posix.open(path, flags, 0o600)
    except OSError as error:
        raise Unpublished(f"cannot write {path}: {error.strerror or error}") from None


def remove_flight(path: str, fd: int) -> None:
    """Remove the file that `fd` is open on, unless another environment has put its own there."""
    try:
        if posix.lstat(path).st_ino == posix.fstat(fd).st_ino:
            posix.unlink(path)
    except OSError:
        pass  # it is gone already, or there was none


def withdraw(path: str, line: str) -> None:
    """Remove the file if it holds `line`, or whatever it holds if `line` is empty.

    Another execution environment of the same user may have written its own meanwhile.
    """
    try:
        if not line or _read(path) == line.encode():
            posix.unlink(path)
    except OSError:
        pass  # it is gone already, or cannot be removed: the runtime checks the pid in it


def _prepare_directory(folder: str) -> None:
    try:
        posix.mkdir(folder, 0o700)
        return
    except FileExistsError:
        pass
    found = posix.lstat(folder)
    # Only the default directory's name can be guessed by others, who could have made it first.
    if folder.rpartition("/")[2].startswith(".lambdascope-") and (
        found.st_mode & _TYPE_MASK != _DIRECTORY
        or found.st_uid != posix.geteuid()
        or found.st_mode & 0o077
    ):
        raise OSError(f"{folder} is not a directory of this user alone (mode 0700)")


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.{posix.getpid()}"
    _remove(temporary)
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    fd = posix.open(temporary, flags, 0o600)
    try:
        try:
            if posix.write(fd, data) != len(data):
                raise OSError("the disk is full")
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError:
        posix.unlink(temporary)
        raise


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass  # the usual case


def _read(path: str) -> bytes:
    fd = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    try:
        return posix.read(fd, 4096)
    finally:
        posix.close(fd)
