"""The real extension process with backends by name: several at once, refused keys, signatures."""

from __future__ import annotations

import gzip
import json
import random
import threading
from calendar import timegm
from time import strptime
from typing import TYPE_CHECKING

import pytest

from collector import Collector
from extension_fakes import ExtensionProcess, FakePlatform, Function
from fake_collector import ENDPOINT, Answer, FakeCollector, span_names
from lambdascope_extension.sigv4 import Credentials, Signer
from observed import PATIENT_MS, named, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., Function]

KEY = "k3y-v4lue"
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def datadog() -> Iterator[FakeCollector]:
    """Datadog's intake, as far as it answers 202."""
    with FakeCollector(*[Answer(202)] * 20) as made:
        yield made


def variables(datadog: str, wanted: str = "datadog,otlp") -> dict[str, str]:
    """A function with two destinations."""
    return {
        "LAMBDASCOPE_DESTINATION": wanted,
        "LAMBDASCOPE_DATADOG_ENDPOINT": datadog,
        "DD_API_KEY": KEY,
    }


def sent(collector: FakeCollector) -> list[str]:
    """The names of all spans in compressed requests."""
    return [
        name
        for one in collector.requests
        if one.path == "/v1/traces"
        for name in span_names(gzip.decompress(one.body))
    ]


def test_two_at_once(start: Start, collector: FakeCollector, datadog: FakeCollector) -> None:
    """Each destination gets every span once, with its own headers; 202 is a success."""
    function = start(**variables(datadog.endpoint), OTEL_EXPORTER_OTLP_HEADERS="x-team=mine")
    function.invoke("a")
    function.invoke("b")

    assert "" == function.shut_down()
    assert ["a", "b"] == sent(datadog) == collector.spans
    assert {(KEY, "serverless", "true", "")} == {
        (
            one.headers["dd-api-key"],
            one.headers["dd-otlp-source"],
            one.headers["compute_stats"],
            one.headers.get("x-team", ""),
        )
        for one in datadog.requests
    }
    assert {("mine", "")} == {
        (one.headers["x-team"], one.headers.get("dd-api-key", "")) for one in collector.requests
    }


def test_one_dead_and_one_alive(start: Start, collector: FakeCollector) -> None:
    """A dead destination costs the other nothing; each has its own line and its own count."""
    function = start(**variables(DEAD))
    for name in ("a", "b", "c"):
        function.invoke(name)
    last = function.shut_down()

    assert ["a", "b", "c"] == collector.spans
    assert "to datadog: traces: 3 spans accepted, 0 exported" in last
    assert "to otlp" not in last


def test_slow_one_beside_a_fast_one(
    start: Start, collector: FakeCollector, datadog: FakeCollector
) -> None:
    """Both are asked at the same time: the fast one has its spans while the slow one thinks."""
    go_on = threading.Event()
    slow = FakeCollector(Answer(202, hold=go_on))
    with slow:
        function = start(**variables(slow.endpoint))
        function.platform.invoke("r1")
        function.count = 1
        assert 200 == function.runtime.hand_over("r1", "a")
        slow.wait_requests(1)
        collector.wait_requests(1)
        go_on.set()
        function.platform.wait_next(2)

    assert (["a"], ["a"]) == (collector.spans, sent(slow))


def test_one_that_never_answers(start: Start, collector: FakeCollector) -> None:
    """It is cut when the time for holding is over, and the other destination has everything."""
    never = threading.Event()
    with FakeCollector(*[Answer(hold=never)] * 9) as silent:
        function = start(**variables(silent.endpoint), LAMBDASCOPE_HOLD_BUDGET_MS="700")
        function.invoke("a")
        silent.wait_left(0)
        function.invoke("b")
        last = function.shut_down(2.0)

    assert ["a", "b"] == collector.spans
    assert "to datadog: traces: 2 spans accepted, 0 exported" in last
    assert "to otlp" not in last


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ledgers_with_faults(start: Start, collector: FakeCollector, seed: int) -> None:
    """Whatever one destination answers, its ledger is right to the span and the other has all."""
    drawn = random.Random(seed)
    answers = [
        Answer(status, headers=(("Retry-After", "0"),))
        for status in drawn.choices((202, 200, 503, 429, 500, 400), (9, 9, 2, 2, 1, 1), k=200)
    ]
    with FakeCollector(*answers) as shaky:
        function = start(
            **variables(shaky.endpoint), LAMBDASCOPE_PLATFORM="none", LAMBDASCOPE_FLUSH="end"
        )
        names = [f"s{number}" for number in range(60)]
        for name in names:
            function.invoke(name)
        last = function.shut_down()
        taken = [
            name
            for one in shaky.requests
            if one.status in (200, 202)
            for name in span_names(gzip.decompress(one.body))
        ]

    assert names == sorted(collector.spans, key=names.index)
    assert len(taken) == len(set(taken))
    if len(taken) < len(names):
        counted = f"to datadog: traces: 60 spans accepted, {len(taken)} exported, "
        assert last.partition(counted)[2].startswith(f"{60 - len(taken)} dropped (")
    assert "to otlp" not in last


def test_key_that_is_refused(start: Start, datadog: FakeCollector) -> None:
    """403 says which of the vendor's variables to check, never what is in them."""
    datadog._answers[:] = [Answer(403)]
    function = start(**variables(datadog.endpoint, "datadog"), **{ENDPOINT: ""})
    function.invoke("a")
    line = function.extension.wait_line("403")
    last = function.shut_down()

    assert line.endswith("check DD_API_KEY and DD_SITE")
    assert "dropped (status_403 1)" in last
    assert KEY not in "".join(function.extension.lines)


def test_signed_requests(start: Start, collector: FakeCollector) -> None:
    """What X-Ray gets is signed over the bytes that it gets, with the function's credentials."""
    function = start(
        LAMBDASCOPE_DESTINATION="aws-xray",
        LAMBDASCOPE_AWS_XRAY_ENDPOINT=collector.endpoint,
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="AKIDEXAMPLE",
        AWS_SECRET_ACCESS_KEY="not-a-key",
        AWS_SESSION_TOKEN="token",
        **{ENDPOINT: ""},
    )
    function.invoke("a")
    request = collector.requests[0]
    signer = Signer(
        Credentials("AKIDEXAMPLE", "not-a-key", token="token"), service="xray", region="eu-west-1"
    )
    expected = signer.sign(
        f"{collector.endpoint}/v1/traces",
        {"content-type": request.headers["content-type"]},
        request.body,
        now=timegm(strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")),
    )

    assert expected == {name: request.headers[name] for name in expected}
    assert (
        "/eu-west-1/xray/aws4_request, SignedHeaders=content-type;host;x-amz-"
        in (request.headers["authorization"])
    )
    assert ["a"] == span_names(gzip.decompress(request.body))


def test_signals_that_a_destination_does_not_take(start: Start, collector: FakeCollector) -> None:
    """A signal that no destination takes is counted, one that another takes goes there alone."""
    function = start(
        LAMBDASCOPE_DESTINATION="aws-xray,aws-metrics",
        LAMBDASCOPE_AWS_XRAY_ENDPOINT=DEAD,
        LAMBDASCOPE_AWS_METRICS_ENDPOINT=collector.endpoint,
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="A",
        AWS_SECRET_ACCESS_KEY="S",
        LAMBDASCOPE_PLATFORM="none",
        **{ENDPOINT: ""},
    )
    anybody = function.extension.anybody()
    for path in ("/v1/metrics", "/v1/logs"):
        body = json.dumps({"resourceLogs": [], "resourceMetrics": []}).encode()
        anybody.post(path, body, content_type="application/json")
    function.invoke("a")
    last = function.shut_down()

    assert ["/v1/metrics"] == [one.path for one in collector.requests]
    assert "to aws-xray: traces: 1 spans accepted, 0 exported" in last
    assert "logs: 1 records accepted, 0 exported, 1 dropped (not_taken 1)" in last


def test_spool_of_each_destination(
    platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> None:
    """After a reset each destination gets what it had not got before, and nothing twice."""
    with ExtensionProcess(
        platform, tmp_path, {ENDPOINT: collector.endpoint, **variables(DEAD)}
    ) as first:
        function = Function(platform, first)
        function.invoke("a")
        platform.shut_down("timeout")
        assert 0 == first.wait_exit()
    assert ["a"] == collector.spans
    with (
        FakePlatform() as again,
        FakeCollector() as datadog,
        ExtensionProcess(
            again, tmp_path, {ENDPOINT: collector.endpoint, **variables(datadog.endpoint)}
        ) as second,
    ):
        function = Function(again, second)
        function.invoke("b")
        function.shut_down()

        assert ["a", "b"] == sorted(sent(datadog))
    assert ["a", "b"] == collector.spans


def test_wrong_name(start: Start, collector: FakeCollector) -> None:
    """A destination that is not known stops nothing: telemetry is counted and that is said."""
    function = start(LAMBDASCOPE_DESTINATION="splunk")
    function.extension.wait_line("LAMBDASCOPE_DESTINATION 'splunk' is not known")
    function.invoke("a")

    assert "1 dropped (config 1)" in function.shut_down()
    assert [] == collector.requests


@pytest.mark.collector
@pytest.mark.parametrize("dies", [False, True])
def test_spans_that_datadog_knows(collector_binary: Path, tmp_path: Path, dies: bool) -> None:
    """Spans of invocations are a function's for Datadog, cold, warm and dead ones; others not."""
    variables = {
        "LAMBDASCOPE_DESTINATION": "datadog",
        "DD_API_KEY": KEY,
        "DD_SERVICE": "orders",
        "DD_ENV": "prod",
        "LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS,
    }
    source = """
        import os

        def handler(event, context):
            if event.get("die"):
                os._exit(3)
    """
    with Collector(collector_binary, tmp_path) as collector:
        variables["LAMBDASCOPE_DATADOG_ENDPOINT"] = collector.http_endpoint
        with running(tmp_path, source, endpoint=None, variables=variables) as function:
            function.invoke(b"{}")
            function.invoke(b'{"die": 1}' if dies else b"{}")
            function.shutdown()
        spans = collector.wait_for_spans(5)
    invokes = [span["attributes"] for span in named(spans, "shop")]

    assert ["true", "false"] == [one["cold_start"] for one in invokes]
    for one in invokes:
        assert ("aws.lambda", "serverless", "shop") == (
            one["operation.name"],
            one["span.type"],
            one["resource.name"],
        )
        assert one["faas.id"].endswith(":function:shop")
        assert one["function_arn"] == one["faas.id"]
    others = [span["attributes"] for span in spans if span["name"] != "shop"]
    assert others
    assert not any("operation.name" in one for one in others)
    assert {("orders", "prod")} == {
        (one["service.name"], one["deployment.environment.name"])
        for one in (span["resource_attributes"] for span in spans)
    }
