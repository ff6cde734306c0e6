"""The spool: what could not be exported before a reset, in a file that the next init reads.

After a time-out or a crash Lambda ends every process of the environment and starts them anew; /tmp
stays. A file is written in one step into the directory of this user alone, is bounded, and is read
once, whoever wrote it. The handler runs as the same user, so nothing in a file is trusted.
"""

from __future__ import annotations

import posix
from time import monotonic, time

from lambdascope_extension.batch import FORMS, KINDS, Batch, Message
from lambdascope_extension.bodies import BadBody, count_items, tells_of_failure
from lambdascope_extension.ledger import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "spool-"
_FIRST_LINE = b"lambdascope spool 1\n"
_FILE_TYPE, _REGULAR = 0o170000, 0o100000
_ID_CHARS = 32
_MAX_PARTS = 10_000
_MAX_FILES = 8
_READ_BYTES = 1_048_576


def write_spool(folder: str, batches: Iterable[Batch]) -> None:
    """Write the batches to a file of this process. Raises OSError; then no file is left."""
    parent = _open_folder(folder)
    name = f"{PREFIX}{posix.getpid()}"
    temporary = f".{name}"
    try:
        _unlink(temporary, parent)
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
        fd = posix.open(temporary, flags, 0o600, dir_fd=parent)
        try:
            try:
                _write(fd, _FIRST_LINE)
                epoch_s = time() - monotonic()
                for batch in batches:
                    _write(fd, _head(batch, epoch_s) + batch.body)
            finally:
                posix.close(fd)
            posix.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            _unlink(temporary, parent)
            raise
    finally:
        posix.close(parent)


def read_spool(folder: str, max_bytes: int) -> tuple[list[Batch], list[str]]:
    """The batches of all files, which are removed, and a line for each that is not taken.

    Together they may have `max_bytes`.

    Nothing there is the usual case and costs two system calls.
    """
    batches: list[Batch] = []
    problems: list[str] = []
    try:
        parent = _open_folder(folder)
    except OSError:
        return batches, problems
    try:
        found = [name for name in posix.listdir(folder) if name.startswith(PREFIX)]
        for name in found[:_MAX_FILES]:
            try:
                data = _take(name, parent, max_bytes)
                max_bytes -= len(data)
                batches += parse(data)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                problems.append(f"{folder}/{name} is not replayed: {reason}")
    finally:
        posix.close(parent)
    return batches, problems


def parse(data: bytes) -> list[Batch]:
    """The batches in the bytes of a file. Raises ValueError when one of them is not whole."""
    if not data.startswith(_FIRST_LINE):
        raise ValueError("it is no spool of this version")
    batches = []
    epoch_s = time() - monotonic()
    position = len(_FIRST_LINE)
    while position < len(data):
        end = data.find(b"\n", position)
        if end < 0:
            raise ValueError("it is cut off")
        words = data[position:end].decode("ascii", "replace").split(" ")
        if len(words) != 5:
            raise ValueError("the head of a batch is not of this format")
        body_end = end + 1
        bodies = []
        for size in _sizes(words[4]):
            bodies.append(data[body_end : body_end + size])
            body_end += size
        if body_end > len(data):
            raise ValueError("it is cut off")
        batches.append(_batch(words, bodies, epoch_s))
        position = body_end
    return batches


def _head(batch: Batch, epoch_s: float) -> bytes:
    """`epoch_s` is the wall time at which the monotonic clock was 0."""
    sizes = ",".join(str(size) for size, _ in batch.parts)
    received_us = int((epoch_s + batch.received) * 1_000_000)
    form = FORMS[batch.kind]
    return f"{batch.id} {batch.signal} {form} {received_us} {sizes}\n".encode()


def _batch(words: list[str], bodies: list[bytes], epoch_s: float) -> Batch:
    batch_id, signal, form, received_us, _ = words
    is_id = len(batch_id) == _ID_CHARS and batch_id.isascii() and batch_id.isalnum()
    if not is_id or signal not in SIGNALS or form not in KINDS or not received_us.isdecimal():
        raise ValueError("the head of a batch is not of this format")
    kind = KINDS[form]
    received = min(monotonic(), int(received_us[:18]) / 1_000_000 - epoch_s)
    try:
        messages = [
            Message(
                signal=signal,
                kind=kind,
                body=body,
                items=count_items(signal, kind, body),
                received=received,
                urgent=tells_of_failure(signal, kind, body),
            )
            for body in bodies
        ]
    except BadBody as error:
        raise ValueError(f"a body in it is damaged: {error}") from None
    messages[0].urgent = any(message.urgent for message in messages)
    batch = Batch(messages)
    batch.id = batch_id
    batch.was_sent = True
    return batch


def _sizes(text: str) -> list[int]:
    words = text.split(",")
    if len(words) > _MAX_PARTS or not all(word.isdecimal() and len(word) < 10 for word in words):
        raise ValueError("the sizes of a batch are not of this format")
    return [int(word) for word in words]


def _take(name: str, parent: int, max_bytes: int) -> bytes:
    """The bytes of a file of this user alone, which is removed. Raises OSError or ValueError."""
    # Not blocking, because a fifo would wait for its writer.
    flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK
    fd = posix.open(name, flags, dir_fd=parent)
    try:
        posix.unlink(name, dir_fd=parent)
        found = posix.fstat(fd)
        if (
            found.st_mode & _FILE_TYPE != _REGULAR
            or found.st_uid != posix.geteuid()
            or found.st_mode & 0o077
        ):
            raise ValueError("it is not a file of this user alone")
        if found.st_size > max_bytes:
            raise ValueError(f"it has {found.st_size} bytes, more than {max_bytes}")
        pieces = []
        while piece := posix.read(fd, _READ_BYTES):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        posix.close(fd)


def _open_folder(folder: str) -> int:
    """A descriptor of a directory of this user alone. Raises OSError."""
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    fd = posix.open(folder, flags)
    found = posix.fstat(fd)
    if found.st_uid != posix.geteuid() or found.st_mode & 0o022:
        posix.close(fd)
        raise OSError(f"{folder} is not a directory that only this user can write to")
    return fd


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[posix.write(fd, left) :]


def _unlink(name: str, parent: int) -> None:
    try:
        posix.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass  # the usual case
