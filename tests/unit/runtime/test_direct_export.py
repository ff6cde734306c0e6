"""The thread that exports where there is no extension: what waits, is dropped, is said."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the OpenTelemetry packages are not installed here")

from lambdascope.runtime.otel import direct_export, exporters
from lambdascope.runtime.otel.direct_export import DirectExport
from lambdascope.wire.names import LOGS_SIGNAL_PATH, TRACES_PATH
from unit.runtime.kit import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 20.0


class Taker:
    """Takes the place of the exporters. While `gate` is clear an export goes on."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.takes: Callable[[bytes], bool] = lambda _: True
        self.taken: list[tuple[str, bytes]] = []

    def __call__(self, *_: object) -> Taker:
        """Exporters are made once, in the thread."""
        return self

    def export(self, path: str, body: bytes) -> bool:
        """As the exporters do."""
        self.begun.set()
        assert self.gate.wait(WAIT_S)
        taken = self.takes(body)
        if taken:
            self.taken.append((path, body))
        return taken


@pytest.fixture
def taker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taker]:
    """What exports; it holds nobody up at the end."""
    taker = Taker()
    monkeypatch.setattr(exporters, "Exporters", taker)
    yield taker
    taker.gate.set()


def send(export: DirectExport, body: bytes, spans: int = 1, budget_s: float = WAIT_S) -> None:
    """Hand the spans of an invocation over."""
    export.send(body, "r", spans, budget_s=budget_s)


def test_in_order_and_waited_for(taker: Taker) -> None:
    """What was handed over has been exported, in its order, when send returns."""
    export = DirectExport(Lines(), waits=True)
    export.send_signal(LOGS_SIGNAL_PATH, b"logs")
    send(export, b"spans")
    send(export, b"")

    assert [(LOGS_SIGNAL_PATH, b"logs"), (TRACES_PATH, b"spans")] == taker.taken


def test_what_is_not_taken_is_said_at_the_end(taker: Taker) -> None:
    """Refused batches and those that raise cost their spans, are counted, and end nothing."""
    lines = Lines()
    export = DirectExport(lines, waits=True)
    taker.takes = lambda body: body != b"refused" and bool(1 / (body != b"raises"))
    send(export, b"refused", 3)
    send(export, b"raises", 2)
    send(export, b"fine", 5)
    export.finish()
    export.finish()

    assert [b"fine"] == [body for _, body in taker.taken]
    assert ["direct export failed: ZeroDivisionError: division by zero"] == lines[:1]
    assert ["5 spans could not be exported"] == lines[1:]


def test_a_budget_that_is_over(taker: Taker) -> None:
    """Who waits in vain goes on, which is said once; what was under way is exported later."""
    lines = Lines()
    export = DirectExport(lines, waits=True)
    taker.gate.clear()
    send(export, b"one", budget_s=0.01)
    send(export, b"two", budget_s=0.01)
    assert 1 == len(lines)
    assert lines[0].startswith("direct export did not end within 0.0 s")
    taker.gate.set()
    export.finish()

    assert [b"one", b"two"] == [body for _, body in taker.taken]
    assert 1 == len(lines)


def test_too_much_is_dropped(taker: Taker) -> None:
    """What waits is bounded in number; the spans of what is dropped are counted."""
    lines = Lines()
    export = DirectExport(lines, waits=False)
    taker.gate.clear()
    for _ in range(direct_export._MAX_PENDING + 3):
        send(export, b"x", 2)
    assert 6 == export.dropped_spans
    taker.gate.set()
    send(export, b"after", 0)
    export.finish()

    assert ["6 spans could not be exported"] == lines


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_thread_of_its_own(taker: Taker) -> None:
    """In a child what was pending is the parent's, and a new thread exports."""
    export = DirectExport(Lines(), waits=True)
    taker.gate.clear()
    send(export, b"of the parent", budget_s=0.01)
    assert taker.begun.wait(WAIT_S)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            export._exporters = own = Taker()  # type: ignore[assignment]
            send(export, b"of the child", budget_s=WAIT_S)
            os.write(write, b", ".join(body for _, body in own.taken))
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)

    with open(read, "rb") as pipe:
        assert b"of the child" == pipe.read()
