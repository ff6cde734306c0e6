"""The hand-over of a streamed response between two threads, and its speed."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from lambdascope.emulator.stream import Bandwidth, ResponseStream

WAIT_S = 10
S = 1_000_000_000


def beside(target: object, *arguments: object) -> threading.Thread:
    """Something in a thread of its own."""
    thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def write_all(stream: ResponseStream, pieces: list[bytes]) -> None:
    """Everything, and a good end."""
    for piece in pieces:
        stream.write(piece)
    stream.end()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=30), st.integers(1, 60))
def test_what_is_written_is_read(pieces: list[bytes], held: int) -> None:
    """All of it, in order, whatever may be held; no piece that is read is empty."""
    stream = ResponseStream("text/plain", held_bytes=held)
    thread = beside(write_all, stream, pieces)
    read = list(stream.pieces())
    thread.join(WAIT_S)
    assert b"".join(pieces) == b"".join(read)
    assert b"" not in read
    assert ("", b"") == (stream.error_type, stream.error)


def test_a_writer_waits_for_its_reader() -> None:
    """No more is held than is allowed, but for one piece."""
    stream = ResponseStream("text/plain", held_bytes=10)
    written = threading.Semaphore(0)

    def write() -> None:
        for _ in range(3):
            stream.write(b"123456")
            written.release()
        stream.end()

    thread = beside(write)
    assert written.acquire(timeout=WAIT_S)
    pieces = stream.pieces()
    # The second write cannot return before this, whenever it has begun.
    first = next(pieces)
    assert b"123456" == first
    assert b"123456123456" == b"".join(pieces)
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_a_reader_that_leaves_holds_nobody() -> None:
    """A writer that waits goes on, and what it writes is dropped."""
    stream = ResponseStream("text/plain", held_bytes=1)
    thread = beside(write_all, stream, [b"12345"] * 10)
    assert next(stream.pieces()).startswith(b"12345")
    stream.leave()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert [] == list(stream.pieces())


def test_the_first_end_counts() -> None:
    """What was written before it is read, what comes after is not."""
    stream = ResponseStream("text/plain")
    stream.write(b"one")
    stream.end("Sandbox.Timedout", b"{}")
    stream.write(b"two")
    stream.end()
    assert [b"one"] == list(stream.pieces())
    assert ("Sandbox.Timedout", b"{}") == (stream.error_type, stream.error)


def test_a_pause_ends_with_the_stream() -> None:
    """A writer that is slowed down does not sleep on when nobody reads any more."""
    for stop in (ResponseStream.end, ResponseStream.leave):
        stream = ResponseStream("text/plain")
        thread = beside(stream.pause, 3600 * S)
        stop(stream)
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_the_burst_is_free_and_the_rest_is_not() -> None:
    """100 bytes at once, then 10 a second; what was not used comes back, up to the burst."""
    bandwidth = Bandwidth(10, 0, burst_bytes=100)
    assert 0 == bandwidth.delay_ns(60, 0)
    assert 0 == bandwidth.delay_ns(40, 0)
    assert 2 * S == bandwidth.delay_ns(20, 0)
    assert 1 * S == bandwidth.delay_ns(10, 2 * S)
    assert 0 == bandwidth.delay_ns(100, 1000 * S)
    assert 1 * S == bandwidth.delay_ns(10, 1000 * S)
