"""The sink as a relay: the collector's answers, and collectors that do not answer."""

from __future__ import annotations

import gzip
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression

from free_ports import free_port
from lambdascope.transport.listener import Exchange, Listener
from sink_kit import JSON, PROTOBUF, json_traces, one_span, sinking, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def collecting(handle: Callable[[Exchange], None]) -> Iterator[str]:
    """A collector of one's own making for the length of a block; its URL."""
    listener = Listener(handle, name="collector")
    listener.start()
    try:
        yield f"http://{listener.address}"
    finally:
        listener.close()


def test_the_collector_gets_the_very_request_and_the_sender_the_very_answer() -> None:
    """Path, body and headers as they were sent, also a coding; status, type and body back."""
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def collector(exchange: Exchange) -> None:
        body = exchange.read_body(1_000_000)
        seen.append((exchange.method, exchange.target, exchange.headers, body))
        exchange.respond(
            202, (("Content-Type", "application/json"), ("X-Other", "1")), b'{"from":"it"}'
        )

    packed = gzip.compress(one_span("x"))
    headers = {
        **PROTOBUF,
        "Content-Encoding": "gzip",
        "Api-Key": "naïve".encode(),
        "User-Agent": "sender/1",
        "Lambdascope-Token": "0" * 32,
    }
    with collecting(collector) as url, sinking(relay_to=f"{url}/base/") as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", packed, headers=headers, timeout=10)
        assert [span["name"] for span in sink.spans()] == ["x"]
        assert [one.status for one in sink.received()] == [202]
    assert (answer.status_code, answer.content) == (202, b'{"from":"it"}')
    assert answer.headers["Content-Type"] == "application/json"
    method, target, arrived, body = seen[0]
    assert (method, target, body) == ("POST", "/base/v1/traces", packed)
    assert (arrived["user-agent"], arrived["api-key"]) == ("sender/1", "naïve")
    assert (arrived["content-encoding"], arrived["host"]) == ("gzip", url.removeprefix("http://"))
    # The token of the handoff inside the environment is nobody's business outside of it.
    assert "lambdascope-token" not in arrived


def test_two_sinks_in_a_row_both_have_what_the_official_exporter_sent() -> None:
    """The exporter is content, and the second sink has the same span."""
    with sinking() as collector, sinking(relay_to=collector.endpoint) as sink:
        with tracing(sink, compression=Compression.Gzip) as tracer:
            tracer.start_span("relayed").end()
        assert [span["name"] for span in sink.spans()] == ["relayed"]
        assert sink.spans() == collector.spans()


def test_whole_urls_for_single_signals_are_used() -> None:
    """A collector with another path for traces; a signal without a URL is told so."""
    paths: list[str] = []

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        paths.append(exchange.target)
        exchange.respond(200)

    with collecting(collector) as url, sinking(relay_to={"/v1/traces": f"{url}/in?x=1"}) as sink:
        traces = requests.post(f"{sink.endpoint}/v1/traces", b"", headers=PROTOBUF, timeout=10)
        logs = requests.post(f"{sink.endpoint}/v1/logs", b"", headers=PROTOBUF, timeout=10)
    assert (traces.status_code, paths) == (200, ["/in?x=1"])
    assert (logs.status_code, logs.text) == (502, "no collector is configured for /v1/logs\n")


def test_a_dead_port_is_502_with_address_and_reason() -> None:
    """The sender learns which collector could not be reached and why; credentials stay hidden."""
    port = free_port()
    with sinking(relay_to=f"http://user:secret@127.0.0.1:{port}") as sink:
        answer = requests.post(
            f"{sink.endpoint}/v1/traces", json_traces(), headers=JSON, timeout=10
        )
        said = f"cannot reach the collector at http://127.0.0.1:{port}/v1/traces: "
        assert (answer.status_code, answer.text) == (502, f"{said}Connection refused\n")
        assert sink.problems() == [answer.text.rstrip()]
        # The spans are shown all the same.
        assert [span["name"] for span in sink.spans()] == ["one"]


@pytest.mark.parametrize("url", ["notaurl", "user:secret@notaurl", "notaurl?key=secret"])
def test_an_endpoint_without_scheme_is_said_as_it_is(url: str) -> None:
    """The sender sees what was configured, without what may be secret."""
    with sinking(relay_to={"/v1/traces": url}) as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", b"", headers=PROTOBUF, timeout=10)
    assert 502 == answer.status_code
    reason = "the address must begin with http:// or https://"
    assert f"cannot reach the collector at notaurl: {reason}\n" == answer.text


def test_a_name_that_does_not_resolve_is_502() -> None:
    """The reason is the resolver's."""
    with sinking(relay_to="http://collector.invalid:4318") as sink:
        answer = requests.post(f"{sink.endpoint}/v1/logs", b"", headers=PROTOBUF, timeout=30)
    assert answer.status_code == 502
    assert answer.text.startswith(
        "cannot reach the collector at http://collector.invalid:4318/v1/logs: "
    )
    assert "<" not in answer.text


def test_a_collector_that_hangs_is_502_in_time() -> None:
    """The sender is not held for ever."""
    release = threading.Event()

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        release.wait(30)
        exchange.abort()

    with collecting(collector) as url, sinking(relay_to=url, relay_timeout_s=0.2) as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", b"", headers=PROTOBUF, timeout=10)
        release.set()
    assert (answer.status_code, answer.text.endswith(": no answer in time\n")) == (502, True)


def test_a_401_reaches_the_exporter_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """The official exporter does not retry it and says what it was."""
    calls: list[str] = []

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        calls.append(exchange.headers.get("api-key", ""))
        exchange.respond(401, (("Content-Type", "text/plain"),), b"who are you?")

    with (
        caplog.at_level(logging.ERROR),
        collecting(collector) as url,
        sinking(relay_to=url) as sink,
        tracing(sink, headers={"api-key": "wrong"}) as tracer,
    ):
        tracer.start_span("refused").end()
        assert [one.status for one in sink.received()] == [401]
    assert calls == ["wrong"]
    assert "code: 401, reason: Unauthorized" in caplog.text


def test_what_the_sender_repeats_after_a_failure_is_kept_once() -> None:
    """A retry of the same body is the same telemetry; a second success is not."""
    statuses = [503, 503, 200, 200]

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        exchange.respond(statuses.pop(0))

    with collecting(collector) as url, sinking(relay_to=url) as sink:
        for expected in (503, 503, 200):
            answer = requests.post(
                f"{sink.endpoint}/v1/traces", json_traces(), headers=JSON, timeout=10
            )
            assert answer.status_code == expected
            assert len(sink.spans()) == 1
        requests.post(f"{sink.endpoint}/v1/traces", json_traces(), headers=JSON, timeout=10)
        assert len(sink.spans()) == 2


def test_a_collector_may_take_what_the_sink_cannot_read() -> None:
    """The sink notes the problem, the collector decides."""
    with (
        collecting(lambda exchange: exchange.respond(200)) as url,
        sinking(relay_to=url) as sink,
    ):
        answer = requests.post(
            f"{sink.endpoint}/v1/traces", b"\xff\xff", headers=PROTOBUF, timeout=10
        )
        assert (answer.status_code, sink.spans()) == (200, [])
        assert ["protobuf" in problem for problem in sink.problems()] == [True]
