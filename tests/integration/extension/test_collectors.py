"""The real extension process and collectors that misbehave: nothing late, nothing lost unsaid."""

from __future__ import annotations

import gzip
import signal
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from extension_fakes import Sender
from fake_collector import BY_REQUESTS, ENDPOINT, LIMIT_S, Answer, FakeCollector, traces
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_fakes import Function

    Start = Callable[..., Function]

PREFIX = "OTEL_EXPORTER_OTLP_"
DEAD = "http://127.0.0.1:1"
# What a busy machine may add to a time that a test looks at.
SLACK_S = 0.2


@pytest.fixture(params=[{}, BY_REQUESTS], ids=["plain", "requests"])
def sender_variables(request: pytest.FixtureRequest) -> dict[str, str]:
    """Both senders have to stand everything here."""
    return dict(request.param)


def test_burst(start: Start, collector: FakeCollector) -> None:
    """Invocations that come close together are not held; their spans leave in few requests."""
    function = start()
    held = [function.invoke(f"a{number}", f"b{number}") for number in range(300)]
    assert statistics.median(held[5:]) < SLACK_S
    assert len(collector.requests) < 20
    assert "" == function.shut_down()
    assert sorted(f"{name}{number}" for number in range(300) for name in "ab") == sorted(
        collector.spans
    )


def test_much_data_in_one_invocation(start: Start, collector: FakeCollector) -> None:
    """Large bodies are cut between requests and leave while the handler still runs."""
    function = start()
    function.invoke("first")
    function.platform.invoke("long")
    sender = function.extension.anybody()
    for number in range(12):
        head, _ = sender.post(names.TRACES_PATH, traces(f"big{number}", padding=300_000))
        assert 200 == head.status
    collector.wait_requests(3)
    assert max(len(one.body) for one in collector.requests) <= 1_000_000
    assert 200 == function.runtime.hand_over("long", "last")
    assert "" == function.shut_down()
    assert {"first", "last", *(f"big{number}" for number in range(12))} == set(collector.spans)


def test_dead_collector(start: Start) -> None:
    """Nobody listens: one line, no invocation is held for long, and every span is accounted for."""
    function = start(**{ENDPOINT: DEAD})
    held = [function.invoke() for _ in range(30)]
    assert statistics.median(held) < SLACK_S
    assert sum(held[1:]) < 5.0
    line = function.extension.wait_line("failed")
    assert f"export of traces to {DEAD}/v1/traces failed: connection refused" in line
    assert "check OTEL_EXPORTER_OTLP_ENDPOINT" in line
    summary = function.shut_down()
    assert "30 spans accepted, 0 exported, 30 dropped (stdout 30), 0 held" in summary
    assert 2 == len(function.extension.lines)


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "OTEL_EXPORTER_OTLP_HEADERS"), (500, "look at the collector")]
)
def test_collector_that_refuses(
    start: Start,
    collector: FakeCollector,
    status: int,
    hint: str,
) -> None:
    """A refusal is final: dropped, counted under its status, said once, with the remedy."""
    collector.plan(*[Answer(status)] * 3)
    function = start(**{f"{PREFIX}HEADERS": "api-key=very-secret", names.ENV_FLUSH: "end"})
    for _ in range(5):
        function.invoke()
    summary = function.shut_down()
    assert f"5 spans accepted, 2 exported, 3 dropped (status_{status} 3), 0 held" in summary
    failures = [line for line in function.extension.lines if "failed" in line]
    assert [True] == [hint in line and str(status) in line for line in failures]
    assert "very-secret" not in "".join(function.extension.lines)
    assert {"very-secret"} == {one.headers["api-key"] for one in collector.requests}


def test_collector_that_is_busy(start: Start, collector: FakeCollector) -> None:
    """503 with Retry-After: the batch is kept, asked again after that time, with the same id."""
    collector.plan(Answer(503, headers=(("Retry-After", "1"),)))
    function = start()
    began = time.monotonic()
    function.invoke("first")
    held = []
    while len(collector.requests) < 2:
        held.append(function.invoke())
        assert time.monotonic() - began < LIMIT_S
    first, second = collector.requests[:2]
    assert second.at - first.at >= 0.8
    assert (first.batch_id, first.body) == (second.batch_id, second.body)
    assert statistics.median(held) < SLACK_S
    function.shut_down()
    assert sorted(["first", *(f"r{n}" for n in range(2, function.count + 1))]) == sorted(
        collector.spans
    )


@pytest.mark.parametrize("cut", [0, 10, 45])
def test_collector_that_hangs_up(start: Start, collector: FakeCollector, cut: int) -> None:
    """A connection that breaks before the whole answer: the batch is kept and sent again."""
    collector.plan(Answer(cut=cut))
    function = start()
    function.invoke("a")
    function.shut_down()
    first, second = collector.requests
    assert first.batch_id == second.batch_id
    assert ["a"] == collector.spans


def test_kept_connection_that_died(start: Start, collector: FakeCollector) -> None:
    """A connection that died while it was kept costs one silent retry at once, not a batch."""
    function = start(**{names.ENV_FLUSH: "end"})
    function.invoke("a")
    collector.plan(Answer(cut=0))
    function.invoke("b")
    assert ["a", "b"] == collector.spans
    assert collector.requests[1].batch_id == collector.requests[2].batch_id
    assert "" == function.shut_down()


def test_collector_that_closes_each_connection(start: Start, collector: FakeCollector) -> None:
    """A collector without keep-alive is no failure."""
    collector.plan(*[Answer(close=True)] * 5)
    function = start(**{names.ENV_FLUSH: "end"})
    for name in "abcde":
        function.invoke(name)
    assert list("abcde") == collector.spans
    assert "" == function.shut_down()


def test_collector_that_does_not_accept(start: Start) -> None:
    """A connection that cannot be made is given up within the budget as well."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # The kernel takes a connection or two more than it was told; the next ones wait.
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(full.getsockname())
            waiting.append(client)
        endpoint = f"http://127.0.0.1:{full.getsockname()[1]}"
        function = start(**{names.ENV_HOLD_BUDGET: "400", ENDPOINT: endpoint})
        held = []
        while not any("no answer" in line for line in function.extension.lines):
            held.append(function.invoke())
            assert function.count < 10_000
        assert 0.3 < max(held) < 0.4 + SLACK_S
        summary = function.shut_down(limit_s=1.0)
        count = function.count
        assert f"{count} spans accepted, 0 exported, {count} dropped (stdout {count})" in summary
        for client in waiting:
            client.close()


def test_slow_collector_is_cut(start: Start, collector: FakeCollector) -> None:
    """A collector that does not answer holds next for the budget, and nothing stays in flight."""
    collector.plan(*[Answer(hold=threading.Event())] * 50)
    function = start(**{names.ENV_HOLD_BUDGET: "300"})
    held = []
    while len(collector.requests) < 2:
        held.append(function.invoke())
        for index in range(len(collector.requests)):
            collector.wait_left(index)
        assert function.count < 10_000
    assert 0.2 < max(held) < 0.3 + SLACK_S
    assert statistics.median(held) < SLACK_S
    assert "no answer" in function.extension.wait_line("failed")
    summary = function.shut_down(limit_s=1.0)
    count = function.count
    assert f"{count} spans accepted, 0 exported, {count} dropped (stdout {count})" in summary


def test_slow_collector_and_the_deadline(start: Start, collector: FakeCollector) -> None:
    """The hold ends before the deadline of the invocation, whatever the budget is."""
    function = start(**{names.ENV_HOLD_BUDGET: "60000", names.ENV_FLUSH: "end"})
    function.invoke("warm")
    collector.plan(Answer(hold=threading.Event()))
    sent = time.monotonic()
    function.invoke("slow", limit_s=1.0)
    assert 0.7 < function.platform.asked_at[-1] - sent < 1.0
    function.shut_down()
    assert ["warm", "slow"] == collector.spans


def test_shutdown_keeps_its_budget(start: Start, collector: FakeCollector) -> None:
    """With a collector that hangs the process ends before the deadline of SHUTDOWN."""
    function = start()
    function.invoke("a")
    collector.plan(*[Answer(hold=threading.Event())] * 3)
    assert 200 == function.runtime.post(names.TRACES_PATH, traces("b"))[0].status
    sent = time.monotonic()
    summary = function.shut_down(limit_s=1.0)
    assert time.monotonic() - sent < 1.0
    assert "2 spans accepted, 1 exported, 1 dropped (stdout 1)" in summary


def test_signal_while_holding(start: Start, collector: FakeCollector) -> None:
    """SIGTERM while next is held for an export lets that export end, and then the process."""
    go_on = threading.Event()
    collector.plan(Answer(hold=go_on))
    function = start()
    function.platform.invoke("r1")
    function.runtime.hand_over("r1", "a")
    collector.wait_requests(1)
    function.extension.signal(signal.SIGTERM)
    function.runtime.close()
    go_on.set()
    assert 0 == function.extension.wait_exit()
    assert (["a"], []) == (collector.spans, function.extension.lines)


def test_partial_success(start: Start, collector: FakeCollector) -> None:
    """Rejected spans are counted as dropped and said once."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "no such tenant"
    collector.plan(*[Answer(body=response.SerializeToString())] * 2)
    function = start()
    function.invoke("a", "b", "c")
    function.invoke("d", "e", "f")
    summary = function.shut_down()
    assert "6 spans accepted, 2 exported, 4 dropped (rejected 4), 0 held" in summary
    assert 1 == sum("no such tenant" in line for line in function.extension.lines)


def test_hostile_senders(start: Start, collector: FakeCollector) -> None:
    """Garbage, oversize, bombs and wrong tokens are refused; invocations go on unharmed."""
    function = start()
    port, token = function.extension.rendezvous()
    bomb = gzip.compress(bytes(50_000_000), 9)
    attempts = [
        (b"\xff" * 100, (), 400),
        (b"x" * (names.MAX_PAYLOAD_BYTES + 1), (), 413),
        (bomb, (("Content-Encoding", "gzip"),), 413),
        (traces("forged"), ((names.HANDOFF_TOKEN, "0" * len(token)),), 401),
        (traces("forged"), ((names.HANDOFF_DONE, "0"),), 401),
    ]
    silent = [socket.create_connection(("127.0.0.1", port), LIMIT_S) for _ in range(100)]
    for number, (body, headers, status) in enumerate(attempts):
        sender = Sender(port)
        assert status == sender.post(names.TRACES_PATH, body, headers)[0].status
        sender.close()
        function.invoke(f"good{number}")
    for one in silent:
        one.close()
    summary = function.shut_down()
    assert [f"good{number}" for number in range(5)] == collector.spans
    assert "5 requests refused (malformed 1, too_large 2, wrong_token 2)" in summary
