"""The listener and the file that names it: for this user alone, replaced in one step."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from lambdascope_extension.rendezvous import (
    Unpublished,
    create_flight,
    listen,
    publish,
    remove_flight,
    withdraw,
)

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "0123456789abcdef" * 2


def test_file_and_directory_are_private(tmp_path: Path) -> None:
    """The directory is made with mode 0700, the file with 0600, and nothing else is left."""
    path = tmp_path / ".lambdascope-1" / "handoff"
    line = publish(str(path), 4318, TOKEN)
    assert f"127.0.0.1:4318 {TOKEN} {os.getpid()}\n" == line == path.read_text()
    assert (0o600, 0o700) == (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777)
    assert [path] == list(path.parent.iterdir())


def test_stale_file_is_replaced(tmp_path: Path) -> None:
    """A reset leaves the file of the process before."""
    path = tmp_path / "handoff"
    path.write_text("127.0.0.1:1 old 1\n")
    publish(str(path), 2, TOKEN)
    assert path.read_text().startswith("127.0.0.1:2 ")


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link in the file's place is replaced, and what it points to is not touched."""
    target = tmp_path / "target"
    target.write_text("precious")
    path = tmp_path / "handoff"
    path.symlink_to(target)
    publish(str(path), 2, TOKEN)
    assert ("precious", False) == (target.read_text(), path.is_symlink())


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_directory_of_somebody_else_is_refused(tmp_path: Path, kind: str) -> None:
    """The default directory has a name that anybody can guess, and may be a trap."""
    folder = tmp_path / ".lambdascope-1"
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "link":
        (tmp_path / "other").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "other")
    else:
        folder.write_text("")
    with pytest.raises(Unpublished, match="lambdascope-1"):
        publish(str(folder / "handoff"), 1, TOKEN)


def test_failure_leaves_no_stale_file(tmp_path: Path) -> None:
    """When the file cannot be written, the runtime must not find the one from before."""
    path = tmp_path / "handoff"
    path.write_text("127.0.0.1:1 old 1\n")
    (tmp_path / f"handoff.{os.getpid()}").mkdir()  # stands where the new one would be prepared
    with pytest.raises(Unpublished, match="cannot write"):
        publish(str(path), 1, TOKEN)
    assert not path.exists()


def test_missing_folder_is_said(tmp_path: Path) -> None:
    """Only one directory is made, not a path of them."""
    with pytest.raises(Unpublished, match="No such file"):
        publish(str(tmp_path / "a" / "b" / "handoff"), 1, TOKEN)


def test_withdraw_removes_only_its_own(tmp_path: Path) -> None:
    """The file of another environment that came later stays."""
    path = tmp_path / "handoff"
    line = publish(str(path), 1, TOKEN)
    path.write_text("127.0.0.1:2 another 7\n")
    withdraw(str(path), line)
    assert path.exists()
    line = publish(str(path), 1, TOKEN)
    withdraw(str(path), line)
    withdraw(str(path), line)
    assert not path.exists()


def test_listener_takes_connections_at_once() -> None:
    """Who connects before the extension is ready waits in the kernel."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), 5), pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", port)
    listener.close()


def test_flight_file(tmp_path: Path) -> None:
    """The flight file is private and new, also where a link lies in its place; then it is gone."""
    target = tmp_path / "target"
    target.write_text("precious")
    path = tmp_path / ".lambdascope-1" / "handoff.flight"
    path.parent.mkdir(0o700)
    path.symlink_to(target)
    fd = create_flight(str(path))
    assert (0o600, 0, "precious") == (
        path.lstat().st_mode & 0o777,
        path.lstat().st_size,
        target.read_text(),
    )
    assert os.fstat(fd).st_ino == path.lstat().st_ino
    remove_flight(str(path), fd)
    assert not path.exists()
    remove_flight(str(path), fd)
    os.close(fd)


def test_flight_file_of_another_environment(tmp_path: Path) -> None:
    """What another environment of the same user has put there meanwhile stays."""
    path = str(tmp_path / "handoff.flight")
    first, second = create_flight(path), create_flight(path)
    remove_flight(path, first)
    assert os.stat(path).st_ino == os.fstat(second).st_ino
    os.close(first)
    os.close(second)


def test_flight_file_that_cannot_be_made(tmp_path: Path) -> None:
    """What is in its place and cannot be replaced is named."""
    path = tmp_path / "handoff.flight"
    path.mkdir()
    with pytest.raises(Unpublished, match=r"handoff\.flight: Is a directory"):
        create_flight(str(path))
