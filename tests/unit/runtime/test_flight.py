"""What the runtime notes of its invocations, in a real file."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.flight_file import FlightFile
from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.trace_parent import TraceParent
from lambdascope.wire import flight as layout
from lambdascope_extension.notes import Head
from unit.runtime.kit import ARN, TRACE, Lines, make_config, make_invocation, make_times

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.runtime.flight import FlightRecorder
    from lambdascope.runtime.telemetry import InvokeTimes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the extension makes it."""
    file = tmp_path / "handoff.flight"
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return file


def attached(path: Path, init: InitPhase | None = None, **environ: str) -> tuple[FlightFile, Lines]:
    """The file, opened by a runtime."""
    said = Lines()
    file = FlightFile(said, init)
    file.attach(str(path), make_config(**environ))
    return file, said


def recorder(path: Path) -> FlightRecorder:
    """The recorder of the only worker."""
    found = attached(path)[0].recorder()
    assert found is not None
    return found


def begin(flight: FlightRecorder, *, is_read: bool = False, **headers: str) -> InvokeTimes:
    """Announce an invocation; `is_read` is whether its trace header has been looked into."""
    times = make_times(make_invocation(lambda_runtime_trace_id=TRACE, **headers))
    times.trace = TraceParent(TRACE, "link")
    assert not times.trace.is_read
    if is_read:
        assert times.trace.links
    flight.began(times, times.trace)
    return times


def frames(path: Path, slot: int = 0) -> list[tuple[bytes, bytes]]:
    """What a slot holds."""
    data = path.read_bytes()[layout.SLOTS_AT + slot * layout.SLOT_BYTES :]
    return layout.read_frames(data[: layout.SLOT_BYTES])


def test_head(path: Path) -> None:
    """An announcement has all that the invoke span needs, in the agreed order."""
    times = begin(recorder(path), is_read=True, lambda_runtime_aws_tenant_id="blue")
    trace = times.trace
    assert trace is not None
    ((kind, payload),) = frames(path)
    (link,) = trace.links

    assert layout.HEAD == kind
    assert trace.trace_id + trace.span_id + bytes(8) == payload[:32]
    numbers = (times.received_ns + times.offset_ns, times.invocation.deadline_ms)
    assert numbers == tuple(int.from_bytes(payload[at : at + 8], "little") for at in (32, 40))
    assert (trace.flags, 1) == (int.from_bytes(payload[48:52], "little"), payload[52])
    assert b"\1" + link.trace_id + link.span_id == payload[53:78]
    assert link.flags == int.from_bytes(payload[78:82], "little")
    assert {
        "pid": "0",
        "request_id": times.invocation.request_id,
        "trigger": "other",
        "arn": ARN,
        "xray_trace_id": "1-5759e988-bd862e3fe1be46a994272793",
        "tenant_id": "blue",
        "trace_state": "",
        "parent_source": trace.source,
        "parent_reason": trace.reason,
        "trace_header": "",
    } == dict(zip(layout.HEAD_TEXTS, layout.head_texts(payload), strict=True))


@pytest.mark.parametrize("is_read", [True, False])
def test_head_for_the_extension(path: Path, is_read: bool) -> None:
    """The extension makes the same of it whether the runtime has read the trace header or not."""
    trace = begin(recorder(path), is_read=is_read).trace
    assert trace is not None
    head = Head(frames(path)[0][1])

    assert (trace.trace_id, trace.span_id, trace.flags) == (head.trace_id, head.span_id, head.flags)
    assert (trace.links, trace.xray_trace_id) == (head.links, head.xray_trace_id)
    assert (trace.source, trace.reason) == (head.parent_source, head.parent_reason)


def test_first_invocation(path: Path) -> None:
    """Until one invocation is over they are cold, and the init goes with them."""
    init = InitPhase(function_name="hello", init_type="on-demand", entered_ns=50, cpu_ns=20)
    init.part("load handler", 60, 70)
    init.end(80)
    file, _ = attached(path, init)
    flight = file.recorder()
    assert flight is not None
    offset = begin(flight).offset_ns

    (_, head), (kind, facts) = frames(path)
    assert (1, layout.INIT) == (head[52], kind)
    at = [str(offset + ns) for ns in (30, 80, 60, 70)]
    texts = ["0", "proactive", "", *at[:2], "load handler", *at[2:]]
    assert texts[1:] == facts.decode().split("\0")[1:]
    flight.ended()
    begin(flight)
    ((_, head),) = frames(path)
    assert 0 == head[52]


def test_resource(path: Path) -> None:
    """The environment's facts stand in the header, with the user's attributes behind them."""
    attached(path, OTEL_RESOURCE_ATTRIBUTES="team=a,stage=b", OTEL_SERVICE_NAME="shop")

    data = path.read_bytes()[layout.RESOURCE_AT :]
    ((_, payload),) = layout.read_frames(data, layout.RESOURCE)
    facts = payload.decode().split("\0")
    assert ["hello", "$LATEST", "eu-central-1"] == facts[:3]
    assert "shop" == facts[6]
    assert ["team", "a", "stage", "b"] == facts[9:]


def test_spans(path: Path) -> None:
    """Spans are added behind each other, with their scope, until the next invocation begins."""
    flight = recorder(path)
    begin(flight)
    flight.span_started(b"open", b"12345678", b"scope")
    flight.span_ended(b"done", b"12345678")
    flight.span_left(b"87654321")
    flight.cut_short("timeout")

    assert [
        (layout.OPEN, b"12345678\x05\0scopeopen"),
        (layout.CLOSED, b"12345678\0\0done"),
        (layout.LEFT, b"87654321"),
        (layout.CAUSE, b"timeout"),
    ] == frames(path)[1:]
    begin(flight)
    assert 1 == len(frames(path))


def ids(path: Path, kind: bytes) -> list[int]:
    """The spans of a kind, by number."""
    return [int.from_bytes(payload[:8], "big") for found, payload in frames(path) if found == kind]


def test_full_of_open_spans(path: Path) -> None:
    """What has no room is counted once, and stacks still have room."""
    flight = recorder(path)
    begin(flight)
    for number in range(300):
        flight.span_started(b"x" * 1000, number.to_bytes(8, "big"))
    for number in range(200, 300):
        flight.span_ended(b"x" * 1000, number.to_bytes(8, "big"))
    assert not flight.is_complete
    flight.stacks("S" * 100_000)

    found = ids(path, layout.OPEN)
    assert list(range(len(found))) == found
    assert 90 < len(found) < 100
    last, lost = frames(path)[-2:]
    assert (layout.LOST, str(300 - len(found)).encode()) == lost
    assert layout.STACKS == last[0]
    assert len(last[1]) > 30_000
    begin(flight)
    assert flight.is_complete
    assert 1 == len(frames(path))


def test_full_of_finished_spans(path: Path) -> None:
    """What is open has room, however much has ended; of that, the first are kept."""
    flight = recorder(path)
    begin(flight)
    flight.span_started(b"outer", bytes(8), b"s")
    for number in range(1, 2000):
        span_id = number.to_bytes(8, "big")
        flight.span_started(b"o" * 100, span_id, b"s")
        flight.span_ended(b"c" * 200, span_id, b"s")
    flight.span_started(b"inner", b"innermst", b"s")

    ended = ids(path, layout.CLOSED)
    assert len(set(ended)) == len(ended)
    assert set(range(1, 300)) <= set(ended)
    assert 330 < len(ended) < 380
    still_open = [payload[:8] for kind, payload in frames(path) if kind == layout.OPEN]
    left = {number.to_bytes(8, "big") for number in ids(path, layout.LEFT)}
    assert {bytes(8), b"innermst"} == set(still_open) - left
    assert (layout.LOST, str(1999 - len(ended)).encode()) == frames(path)[-1]
    flight.forget_ended()
    assert flight.is_complete
    assert {bytes(8), b"innermst"} == {payload[:8] for _, payload in frames(path)[1:]}


def test_ended(path: Path) -> None:
    """After its end nothing can be added to an invocation; it is not erased, which would cost."""
    flight = recorder(path)
    begin(flight)
    flight.ended()
    flight.span_started(b"late", b"12345678")

    assert 1 == len(frames(path))
    flight.erase()
    assert [] == frames(path)


def test_workers(path: Path) -> None:
    """Each worker has a slot of its own, in whichever process, and erases what is over."""
    file, _ = attached(path, AWS_LAMBDA_MAX_CONCURRENCY="3")
    other, _ = attached(path, AWS_LAMBDA_MAX_CONCURRENCY="2")
    recorders = [file.recorder(number, erases=True) for number in range(3)]
    recorders += [other.recorder(number, erases=True) for number in range(2)]
    for number, one in enumerate(recorders):
        assert one is not None
        begin(one, lambda_runtime_aws_tenant_id=str(number))
    found = [layout.head_texts(frames(path, slot)[0][1])[5] for slot in range(5)]

    assert ["0", "1", "2", "3", "4"] == found
    assert file.recorder(3) is None
    assert recorders[1] is not None
    recorders[1].ended()
    assert [1, 0, 1] == [len(frames(path, slot)) for slot in range(3)]


def test_no_slot_left(path: Path) -> None:
    """Where there are more workers than slots, the last ones do without."""
    file, said = attached(path, AWS_LAMBDA_MAX_CONCURRENCY="1000")

    assert file.recorder(layout.MAX_SLOTS - 1) is not None
    assert file.recorder(layout.MAX_SLOTS) is None
    assert attached(path)[0].recorder() is None
    assert [] == said


def test_no_file(tmp_path: Path) -> None:
    """An extension that keeps no such file is nothing to talk about."""
    file, said = attached(tmp_path / "none")

    assert (None, []) == (file.recorder(), said)


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_file_of_others(path: Path, mode: int) -> None:
    """A file that others can read or write is not written to, and that is said."""
    path.chmod(mode)
    file, said = attached(path)

    assert file.fd < 0
    (line,) = said
    assert "not owned by this user alone" in line


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_no_ordinary_file(path: Path, kind: str) -> None:
    """Neither a link nor a pipe nor a folder in its place is taken, or waited for."""
    path.rename(path.with_name("real"))
    if kind == "link":
        path.symlink_to(path.with_name("real"))
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir(0o700)
    file, said = attached(path)

    assert (-1, 1) == (file.fd, len(said))


def test_disk_full(path: Path) -> None:
    """When the disk is full, it is said once, and everything else goes on."""
    file, said = attached(path)
    flight = file.recorder()
    assert flight is not None
    os.close(file.fd)
    file.fd = os.open("/dev/full", os.O_RDWR)
    begin(flight)
    flight.span_started(b"more", b"12345678")
    begin(flight)

    assert file.fd < 0
    (line,) = said
    assert "No space left on device" in line


def test_forked(path: Path) -> None:
    """A process that the function forks does not write into its parent's notes."""
    flight = recorder(path)
    begin(flight)
    child = os.fork()
    if child == 0:
        flight.span_started(b"child", b"12345678")
        os._exit(0)
    os.waitpid(child, 0)

    assert 1 == len(frames(path))


def test_in_a_signal_handler(path: Path) -> None:
    """What interrupts a write does not wait for it: the end is noted, stacks are given up."""
    flight = recorder(path)
    begin(flight)
    with flight._lock:
        flight.stacks("stacks")
        flight.cut_short("terminated")

    assert not flight.has_stacks
    assert [(layout.CAUSE, b"terminated")] == frames(path)[1:]


def test_forked_while_another_thread_writes(path: Path) -> None:
    """A forked process does not wait for a thread that it does not have."""
    flight = recorder(path)
    begin(flight)
    holds, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with flight._lock:
            holds.set()
            may_end.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(20)
    child = os.fork()
    if child == 0:
        flight.span_started(b"child", b"12345678")
        flight.span_left(b"12345678")
        flight.ended()
        flight.erase()
        os._exit(7)
    may_end.set()
    thread.join()

    assert 7 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
