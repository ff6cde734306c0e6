"""The runtime's end of the handoff: whom it trusts, and that it never waits beyond its budget."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime import handoff as handoff_module
from lambdascope.runtime.handoff import BUDGET_S, Handoff, default_file
from lambdascope.wire import names
from runtime_fakes import TOKEN, HandoffStub, close, raw, status
from unit.runtime.kit import Lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A machine that is busy may be late, but not by this much.
SLACK_S = 2.0
DEAD_PID = 2**22 + 1


def _connected(stub: HandoffStub) -> tuple[Handoff, Lines]:
    said = Lines()
    handoff = Handoff(str(stub.file), said)
    assert handoff.connect()
    assert [] == said
    return handoff, said


def test_hello_and_send(tmp_path: Path) -> None:
    """Hello has the token; a post has the token, the request id and the number of spans."""
    with HandoffStub(tmp_path) as stub:
        handoff, said = _connected(stub)
        handoff.send(b"spans", "r1", 2)
        handoff.send(b"", "r2", 0)
        handoff.finish()

    assert [TOKEN] == [head[names.HANDOFF_TOKEN.lower()] for head in stub.hellos]
    assert [(b"spans", "r1", "2"), (b"", "r2", "0")] == [
        (body, head[names.HANDOFF_REQUEST_ID.lower()], head[names.HANDOFF_DONE.lower()])
        for head, body in stub.posts
    ]
    head = stub.posts[0][0]
    assert ("application/x-protobuf", TOKEN) == (head["content-type"], head["lambdascope-token"])
    assert [] == said
    assert not handoff.present


def test_no_extension(tmp_path: Path) -> None:
    """Without the file there is no extension, and nothing to say."""
    said = Lines()
    handoff = Handoff(str(tmp_path / "none"), said)

    assert (False, False, []) == (handoff.connect(), handoff.present, said)
    handoff.send(b"x", "r", 3)
    assert 3 == handoff.dropped_spans


def test_default_file_is_the_users_own() -> None:
    """The default place is a directory of the user's."""
    assert f"/tmp/.lambdascope-{os.geteuid()}/handoff" == default_file()


REFUSED: dict[str, tuple[Callable[[HandoffStub], object], str]] = {
    "readable by the group": (
        lambda stub: stub.file.chmod(0o640),
        "not owned by this user alone (mode 0600)",
    ),
    "writable by others": (
        lambda stub: stub.file.chmod(0o602),
        "not owned by this user alone (mode 0600)",
    ),
    "garbage": (lambda stub: stub.publish("nonsense"), "not of the form"),
    "empty": (lambda stub: stub.publish(""), "not of the form"),
    "binary": (lambda stub: stub.file.write_bytes(os.urandom(5000)), "not of the form"),
    "no pid": (lambda stub: stub.publish(f"{stub.address} {TOKEN} x"), "not of the form"),
    "pid 0": (lambda stub: stub.publish(f"{stub.address} {TOKEN} 0"), "not of the form"),
    "huge pid": (lambda stub: stub.publish(f"{stub.address} {TOKEN} {10**30}"), "not of the form"),
    "token with a line break": (
        lambda stub: stub.publish(f"{stub.address} a\x00b {os.getpid()}"),
        "not of the form",
    ),
    "no address": (
        lambda stub: stub.publish(f"nowhere:x {TOKEN} {os.getpid()}"),
        "not an address of the form host:port",
    ),
}


@pytest.mark.parametrize(("spoil", "reason"), REFUSED.values(), ids=REFUSED)
def test_files_that_are_not_trusted(
    spoil: Callable[[HandoffStub], object], reason: str, tmp_path: Path
) -> None:
    """A file that others could have written or read, or of another form: one line, no telemetry."""
    with HandoffStub(tmp_path) as stub:
        spoil(stub)
        said = Lines()
        handoff = Handoff(str(stub.file), said)

        assert not handoff.connect()

    (line,) = said
    assert reason in line
    assert str(stub.file) in line
    assert TOKEN not in line
    assert [] == stub.hellos


def test_symbolic_link(tmp_path: Path) -> None:
    """A link in the place of the file is not followed."""
    with HandoffStub(tmp_path) as stub:
        link = tmp_path / "link"
        link.symlink_to(stub.file)
        said = Lines()

        assert not Handoff(str(link), said).connect()

    assert 1 == len(said)
    assert [] == stub.hellos


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_no_regular_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A named pipe or a directory in the place of the file does not stop the runtime."""
    path = tmp_path / "handoff"
    make(path)
    path.chmod(0o600)
    said = Lines()

    assert not Handoff(str(path), said).connect()
    assert [f"handoff file {path}: not a regular file; telemetry stays in this process"] == said


def test_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user is not trusted, whatever its mode."""
    with HandoffStub(tmp_path) as stub:
        said = Lines()
        real = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: real + 1)

        assert not Handoff(str(stub.file), said).connect()

    assert "not owned by this user alone" in said[0]


def test_dead_process(tmp_path: Path) -> None:
    """A file that a process left behind which is gone means that there is no extension."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    with HandoffStub(tmp_path) as stub:
        stub.publish(f"{stub.address} {TOKEN} {done.pid}\n")
        said = Lines()

        assert not Handoff(str(stub.file), said).connect()

    assert ([], []) == (said, stub.hellos)


@pytest.mark.parametrize("code", [401, 500, 404])
def test_hello_refused(code: int, tmp_path: Path) -> None:
    """Any other answer to hello than 200 means no handoff; one line says so, at the first one."""
    with HandoffStub(tmp_path, [status(code)]) as stub:
        said = Lines()
        handoff = Handoff(str(stub.file), said)

        assert handoff.connect()
        handoff.send(b"", "r1", 2)
        handoff.finish()

    assert [f"the extension answered {code}; telemetry stays in this process"] == said
    assert not handoff.present


HELLO_FAULTS = {
    "hangs": lambda stub: stub.hang,
    "closes": lambda stub: close,
    "speaks garbage": lambda stub: raw(b"220 smtp ready\r\n\r\n"),
    "answers half": lambda stub: raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
}


@pytest.mark.parametrize("fault", HELLO_FAULTS.values(), ids=HELLO_FAULTS)
def test_hello_that_fails(fault: Callable[[HandoffStub], object], tmp_path: Path) -> None:
    """An extension that hangs, closes or speaks garbage costs the first handoff its budget."""
    with HandoffStub(tmp_path) as stub:
        stub._answers.append(fault(stub))
        said = Lines()
        started = time.monotonic()
        handoff = Handoff(str(stub.file), said)

        assert handoff.connect()
        handoff.send(b"", "r1", 2)
        took_s = time.monotonic() - started
        handoff.finish()

    assert not handoff.present

    assert took_s < 2 * BUDGET_S + SLACK_S
    (line,) = said
    assert line.startswith("the extension does not answer (")


def test_nobody_listens(tmp_path: Path) -> None:
    """A living process that does not listen any more is one line."""
    stub = HandoffStub(tmp_path)
    stub.close()
    said = Lines()

    assert not Handoff(str(stub.file), said).connect()
    assert "the extension does not answer" in said[0]


@pytest.mark.parametrize("code", [401, 429, 500])
def test_refused_posts(code: int, tmp_path: Path) -> None:
    """Spans that the extension refused are counted; after three in a row it counts as gone."""
    with HandoffStub(tmp_path, [status(200, ""), *[status(code, "why\nnot")] * 5]) as stub:
        handoff, said = _connected(stub)
        for number in range(6):
            handoff.send(b"spans", f"r{number}", 2)
        present = handoff.present
        handoff.finish()

    assert not present
    assert 3 == len(stub.posts)
    assert [
        f"handoff to the extension failed: the extension answered {code}: why\nnot",
        "handoff given up; the function runs on without telemetry",
        "12 spans could not be handed to the extension",
    ] == said


def test_failures_that_are_far_apart(tmp_path: Path) -> None:
    """Only failures in a row count: an extension that recovers is not given up, ever."""
    answers = [status(200, ""), *[status(503), status(200, "")] * 5]
    with HandoffStub(tmp_path, answers) as stub:
        handoff, said = _connected(stub)
        for number in range(11):
            handoff.send(b"spans", f"r{number}", 1)
        present = handoff.present
        handoff.finish()

    assert present
    assert 11 == len(stub.posts)
    assert [
        "handoff to the extension failed: ",
        "5 spans could not be handed to the extension",
    ] == [
        said[0][:33],
        said[1],
    ]
    assert 2 == len(said)


def test_answer_is_not_waited_for(tmp_path: Path) -> None:
    """A post returns before it is answered; the next one waits for it, at most its budget."""
    with HandoffStub(tmp_path) as stub:
        stub._answers += [status(200, ""), stub.hang]
        handoff, said = _connected(stub)
        started = time.monotonic()
        handoff.send(b"a", "r1", 1)
        first_s = time.monotonic() - started
        stub.wait_for_posts(1)
        started = time.monotonic()
        handoff.send(b"b", "r2", 1)
        second_s = time.monotonic() - started
        stub.wait_for_posts(2)
        handoff.finish()

    assert first_s < BUDGET_S
    assert BUDGET_S * 0.9 < second_s < BUDGET_S + SLACK_S
    assert ["r1", "r2"] == [head["lambdascope-request-id"] for head, _ in stub.posts]
    assert "no whole answer within 0.25 s" in said[0]
    assert "1 spans could not be handed to the extension" == said[-1]


def test_late_answer(tmp_path: Path) -> None:
    """An answer that comes while the environment is idle is read before the next post."""
    with HandoffStub(tmp_path) as stub:
        handoff, said = _connected(stub)
        for number in range(3):
            handoff.send(b"a", f"r{number}", 1)
            stub.wait_for_posts(number + 1)
        handoff.finish()

    assert [] == said
    assert 3 == len(stub.posts)


def test_smaller_budget(tmp_path: Path) -> None:
    """Near the deadline the wait is as short as the caller says."""
    with HandoffStub(tmp_path) as stub:
        stub._answers += [status(200, ""), stub.hang]
        handoff, _ = _connected(stub)
        handoff.send(b"a", "r1", 1)
        started = time.monotonic()
        handoff.send(b"b", "r2", 1, budget_s=0.01)
        took_s = time.monotonic() - started
        stub.over.set()
        handoff.finish()

    assert took_s < BUDGET_S


def test_body_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body larger than the kernel's buffers is given up after the budget."""
    monkeypatch.setattr(handoff_module, "_MAX_FAILURES", 1)

    def ignore(exchange: object) -> None:
        stub.over.wait(20)

    with HandoffStub(tmp_path) as stub:
        handoff, said = _connected(stub)
        # With the answer to this one the greeting has been answered, too.
        handoff.send(b"a", "r0", 1)
        stub.wait_for_posts(1)
        handoff._read_answer(handoff._connection, 20.0)
        stub._handle = ignore
        stub._listener._handle = ignore
        started = time.monotonic()
        handoff.send(bytes(50_000_000), "r1", 7)
        took_s = time.monotonic() - started
        handoff.finish()

    assert took_s < BUDGET_S + SLACK_S
    assert "7 spans could not be handed to the extension" == said[-1]


def test_extension_that_dies(tmp_path: Path) -> None:
    """When the extension is gone, sends fail at once, are counted, and are given up."""
    with HandoffStub(tmp_path) as stub:
        handoff, said = _connected(stub)
        handoff.send(b"a", "r1", 2)
        stub.wait_for_posts(1)
    started = time.monotonic()
    for number in range(5):
        handoff.send(b"a", f"r{number}", 2)
    took_s = time.monotonic() - started
    handoff.finish()

    assert took_s < SLACK_S
    assert not handoff.present
    assert "handoff given up; the function runs on without telemetry" in said
    assert said[-1] in (
        "10 spans could not be handed to the extension",
        "12 spans could not be handed to the extension",  # the first answer was lost as well
    )


def test_connection_closed_while_idle(tmp_path: Path) -> None:
    """A connection that the extension closed between two posts is opened again."""

    def answer_and_close(exchange: object) -> None:
        exchange.keep_alive = False
        exchange.respond(200)

    with HandoffStub(tmp_path, [status(200, ""), answer_and_close]) as stub:
        handoff, said = _connected(stub)
        handoff.send(b"a", "r1", 1)
        handoff.send(b"b", "r2", 1)
        handoff.finish()

    assert ["r1", "r2"] == [head["lambdascope-request-id"] for head, _ in stub.posts]
    assert [] == said


def test_hostile_request_id(tmp_path: Path) -> None:
    """A request id that cannot stand in a header loses the spans, not the function."""
    with HandoffStub(tmp_path) as stub:
        handoff, said = _connected(stub)
        handoff.send(b"a", "r\r\nX: 1", 1)
        handoff.send(b"b", "r2", 1)
        handoff.finish()

    assert [b"b"] == [body for _, body in stub.posts]
    assert said[0].startswith("handoff to the extension failed: line break")
