"""What outlives the process: the spool, lines on standard output, and the ledger of both."""

from __future__ import annotations

import os
import select
import socket
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_collector import span_names, traces
from lambdascope.otlp.lines import parse_line
from lambdascope.wire import names
from lambdascope.wire.names import CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF
from lambdascope_extension.buffer import Buffer, Message
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.leftovers import Leftovers
from lambdascope_extension.spool import parse, read_spool, write_spool
from unit.extension.loopback import is_balanced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESET = names.SHUTDOWN_TIMEOUT
JSON = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"1"}]}]}]}'


# Descriptors of the running test.
OPEN: list[int] = []


class Bench:
    """A buffer and its leftovers, with a folder as the extension makes it and a pipe for output."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.ledger = Ledger()
        self.buffer = Buffer(self.ledger, batch_bytes=100_000)
        self.out = folder / "stdout"
        fd = os.open(self.out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        OPEN.append(fd)
        environ = {getattr(names, f"ENV_{name}"): value for name, value in variables.items()}
        self.leftovers = Leftovers(self.buffer, str(folder), environ, self.lines.append, stdout=fd)

    def put(self, *spans: str, kind: str = CONTENT_TYPE_PROTOBUF, body: bytes = b"") -> None:
        """A sender posts."""
        message = Message(
            signal="traces",
            kind=kind,
            body=body or traces(*spans),
            items=len(spans),
            received=monotonic(),
        )
        assert self.buffer.put(message)

    def taken(self) -> list[str]:
        """The spans that are held, which are taken."""
        found = []
        while (batch := self.buffer.take()) is not None:
            found += span_names(batch.body)
        return found

    @property
    def printed(self) -> list[str]:
        """The spans in the lines on standard output."""
        found = []
        for text in self.out.read_text().splitlines():
            line = parse_line(text)
            assert line is not None
            found += span_names(line.body) if line.form == "protobuf" else ["json"]
        return found

    @property
    def dropped(self) -> dict[str, int]:
        """Why spans are not held any more."""
        account = self.ledger.accounts["traces"]
        assert is_balanced(account)
        return account.dropped


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory of this user alone."""
    tmp_path.chmod(0o700)
    yield tmp_path
    while OPEN:
        os.close(OPEN.pop())


def files(folder: Path) -> list[str]:
    """What is in the folder beside the output."""
    return sorted(one for one in os.listdir(folder) if one != "stdout")


@pytest.mark.parametrize("reason", ["timeout", "failure"])
def test_reset_spools_and_the_next_init_replays(folder: Path, reason: str) -> None:
    """What is held at a reset is held again after it, under the same ids, and the file is gone."""
    before = Bench(folder)
    before.put("a", "b")
    before.put("json", kind=CONTENT_TYPE_JSON, body=JSON)
    batch = before.buffer.take()
    assert batch is not None
    before.buffer.put_back(batch)
    before.leftovers.keep(reason, monotonic() + 5)
    assert ({"spooled": 3}, 0) == (before.dropped, before.buffer.held_bytes)
    assert 0o600 == (folder / files(folder)[0]).stat().st_mode & 0o777
    after = Bench(folder)
    after.leftovers.restore()
    again = after.buffer.take()
    assert again is not None
    assert (batch.id, batch.body, 2) == (again.id, again.body, again.items)
    rest = after.buffer.take()
    assert rest is not None
    assert (CONTENT_TYPE_JSON, JSON, 1) == (rest.kind, rest.body, rest.items)
    assert ([], [], b"") == (files(folder), after.lines, after.out.read_bytes())
    assert 3 == after.ledger.accounts["traces"].held


@pytest.mark.parametrize("reason", ["spindown", "anything"])
def test_end_of_the_environment_prints(folder: Path, reason: str) -> None:
    """Where /tmp is lost too, what is held becomes lines on standard output."""
    bench = Bench(folder)
    bench.put("a", "b")
    bench.put("json", kind=CONTENT_TYPE_JSON, body=JSON)
    bench.leftovers.keep(reason, monotonic() + 5)
    assert (["a", "b", "json"], {"stdout": 3}) == (bench.printed, bench.dropped)
    assert [] == files(folder)


def test_lines_tell_their_destination(folder: Path) -> None:
    """Where there are several destinations, a line says which one it is for, and stays readable."""
    bench = Bench(folder)
    bench.put("a")
    with bench.out.open("ab") as out:
        Leftovers(
            bench.buffer, str(folder), {}, bench.lines.append, stdout=out.fileno(), destination="x"
        ).keep("spindown", monotonic() + 10)

    text = bench.out.read_text()
    line = parse_line(text)
    assert text.startswith("to=x lambdascope-otlp-1 traces ")
    assert line is not None
    assert ["a"] == span_names(line.body)


def test_nothing_held_leaves_nothing(folder: Path) -> None:
    """The usual end writes no file and no line."""
    bench = Bench(folder)
    for reason in (RESET, "spindown"):
        bench.leftovers.keep(reason, monotonic() + 5)
    assert ([], b"", []) == (files(folder), bench.out.read_bytes(), bench.lines)


def test_spool_is_bounded(folder: Path) -> None:
    """What does not fit into the spool goes to standard output; failures are spooled first."""
    bench = Bench(folder, SPOOL_BYTES="1000")
    for number in range(30):
        bench.put(f"good{number}", body=traces(f"good{number}", padding=50))
    failed = Message(
        signal="traces",
        kind=CONTENT_TYPE_PROTOBUF,
        body=traces("failed", error=True),
        items=1,
        received=monotonic(),
        urgent=True,
    )
    assert bench.buffer.put(failed)
    bench.leftovers.keep(RESET, monotonic() + 5)
    assert {"spooled": 1, "stdout": 30} == bench.dropped
    after = Bench(folder)
    after.leftovers.restore()
    assert after.buffer.has_urgent()
    assert ["failed"] == after.taken()


def test_output_is_bounded(folder: Path) -> None:
    """After its bound nothing more is printed, and what is not printed is still held."""
    bench = Bench(folder, STDOUT_BYTES="40000")
    for number in range(40):
        noise = os.urandom(3000).hex()
        bench.put(f"s{number}", body=traces(f"s{number}") + traces(noise))
    bench.leftovers.keep("spindown", monotonic() + 5)
    assert bench.out.stat().st_size <= 40_000
    printed = len([one for one in bench.printed if one.startswith("s")])
    assert {"stdout": printed} == bench.dropped
    assert 0 < printed < 40
    assert 40 - printed == bench.ledger.accounts["traces"].held


def test_long_requests_become_several_lines(folder: Path) -> None:
    """No line is longer than a log group takes."""
    bench = Bench(folder, STDOUT_BYTES="4000000")
    bench.put(*[os.urandom(500).hex() for _ in range(900)])
    bench.leftovers.keep("spindown", monotonic() + 5)
    lengths = [len(line) for line in bench.out.read_bytes().splitlines()]
    assert len(lengths) > 2
    assert max(lengths) <= 200_000
    assert {"stdout": 900} == bench.dropped


def test_both_can_be_turned_off(folder: Path) -> None:
    """With bounds of 0 nothing is written anywhere, and nothing is lost unsaid."""
    bench = Bench(folder, SPOOL_BYTES="0", STDOUT_BYTES="0")
    bench.put("a")
    bench.leftovers.keep(RESET, monotonic() + 5)
    assert ({}, 1) == (bench.dropped, bench.ledger.accounts["traces"].held)
    assert ([], b"") == (files(folder), bench.out.read_bytes())


def test_wrong_bound_is_said(folder: Path) -> None:
    """A bound that is no number is named, and the default taken."""
    assert [True] == [
        "LAMBDASCOPE_SPOOL_BYTES" in one for one in Bench(folder, SPOOL_BYTES="much").lines
    ]


def test_output_that_nobody_reads(folder: Path) -> None:
    """A full pipe is not waited for beyond the time there is."""
    bench = Bench(folder)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    while select.select([], [ours], [], 0)[1]:
        ours.send(b"x" * 65536)
    leftovers = Leftovers(bench.buffer, str(folder), {}, bench.lines.append, stdout=ours.fileno())
    bench.put("a")
    leftovers.keep("spindown", monotonic() + 0.05)
    assert ({}, 1) == (bench.dropped, bench.ledger.accounts["traces"].held)
    ours.close()
    theirs.close()


def test_folder_that_others_can_write_to(folder: Path) -> None:
    """A directory that is not this user's alone is neither written to nor read from."""
    bench = Bench(folder)
    bench.put("a")
    batch = bench.buffer.take()
    assert batch is not None
    write_spool(str(folder), [batch])
    bench.buffer.put_back(batch)
    folder.chmod(0o777)
    bench.leftovers.keep(RESET, monotonic() + 5)
    assert [True] == ["cannot spool" in line for line in bench.lines]
    assert {"stdout": 1} == bench.dropped
    after = Bench(folder)
    after.leftovers.restore()
    assert 0 == after.buffer.held_bytes


@pytest.mark.parametrize("kind", ["link", "fifo", "readable", "folder", "empty", "huge"])
def test_files_that_are_not_ours(folder: Path, kind: str) -> None:
    """Whatever lies there under the name of a spool, it is not read, and never waited for."""
    path = folder / "spool-1"
    secret = folder / "secret"
    secret.write_bytes(b"lambdascope spool 1\n")
    secret.chmod(0o600)
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"lambdascope spool 1\n" if kind == "readable" else b"")
        path.chmod(0o644 if kind == "readable" else 0o600)
    if kind == "huge":
        os.truncate(path, 100 * 1024 * 1024)
    after = Bench(folder)
    after.leftovers.restore()
    assert ([True], 0) == (["not replayed" in one for one in after.lines], after.buffer.held_bytes)
    assert secret.exists()


def test_files_together_are_bounded(folder: Path) -> None:
    """Several spools are taken until they are too many, and the others are named."""
    good = whole(folder)
    os.rename(folder / f"spool-{os.getpid()}", folder / "spool-1")
    for number in (2, 3):
        path = folder / f"spool-{number}"
        path.write_bytes(good)
        path.chmod(0o600)
    batches, problems = read_spool(str(folder), 2 * len(good))
    assert (4, 1, []) == (len(batches), len(problems), files(folder))


def test_temporary_link_is_not_followed(folder: Path) -> None:
    """A link that waits under the temporary name is replaced, not written through."""
    victim = folder / "victim"
    victim.write_text("mine")
    (folder / f".spool-{os.getpid()}").symlink_to(victim)
    bench = Bench(folder)
    bench.put("a")
    bench.leftovers.keep(RESET, monotonic() + 5)
    assert "mine" == victim.read_text()
    assert ({"spooled": 1}, [f"spool-{os.getpid()}", "victim"]) == (bench.dropped, files(folder))


def whole(folder: Path) -> bytes:
    """The bytes of a spool with two batches."""
    bench = Bench(folder)
    bench.put("a", "b")
    first = bench.buffer.take()
    bench.put("c")
    second = bench.buffer.take()
    assert first is not None
    assert second is not None
    write_spool(str(folder), [first, second])
    return (folder / f"spool-{os.getpid()}").read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_spool(folder: Path, data: st.DataObject) -> None:
    """A spool that was cut or changed is refused, or gives only batches whose bytes are whole."""
    good = whole(folder)
    position = data.draw(st.integers(0, len(good) - 1))
    changed = data.draw(
        st.sampled_from([good[:position], good[:position] + b"\xff" + good[position + 1 :]])
    )
    try:
        batches = parse(changed)
    except ValueError:
        return
    assert len(batches) <= 2
    assert all(one.items in (0, 1, 2) for one in batches)


def test_old_batches_keep_their_age(folder: Path) -> None:
    """What was received an hour before the reset is as old after it."""
    data = whole(folder)
    head = data.split(b"\n")[1]
    words = head.split(b" ")
    aged = b" ".join([*words[:3], b"%d" % (int(words[3]) - 3_600_000_000), *words[4:]])
    batches = parse(data.replace(head, aged, 1))
    assert 3599 <= monotonic() - batches[0].received <= 3602


def test_no_spool_is_the_usual_case(folder: Path) -> None:
    """Where there is no folder or no file, nothing is said."""
    assert ([], []) == read_spool(str(folder / "missing"), 100)
    bench = Bench(folder)
    bench.leftovers.restore()
    assert [] == bench.lines
