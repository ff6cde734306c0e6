"""Libraries of a function are traced without a line of code: real ones, against local servers.

They and OpenTelemetry's instrumentors of them are in an environment of their own.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import peers
from compat_kit import own_package
from instrument_kit import HEADER, LINEAGE, Web, running_postgres, running_redis
from managed_kit import MANAGED
from observed import named, one, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector import Collector
    from otlp_recorder import Item

pytestmark = [pytest.mark.collector, pytest.mark.instrument]

CLIENT = 3
XRAY = "x-amzn-trace-id"
TRACE = f"{HEADER};Lineage={LINEAGE}"

REQUESTS = """
    import os, sys
    import requests

    def handler(event, context):
        requests.get(os.environ["URL"])
        return [name for name in sys.modules if name.startswith("opentelemetry")]
"""
HTTPX = """
    import os
    import httpx

    def handler(event, context):
        httpx.get(os.environ["URL"])
"""
URLLIB3 = """
    import os
    import urllib3

    def handler(event, context):
        urllib3.PoolManager().request("GET", os.environ["URL"])
"""
AIOHTTP = """
    import os
    import aiohttp

    async def handler(event, context):
        async with aiohttp.ClientSession() as session:
            async with session.get(os.environ["URL"]) as response:
                await response.read()
"""
INSIDE = """
    def handler(event, context):
        import os
        import requests

        requests.get(os.environ["URL"])
"""
BOTO3 = """
    import os, sys
    import boto3

    sqs = boto3.client(
        "sqs", endpoint_url=os.environ["URL"], aws_access_key_id="x", aws_secret_access_key="y"
    )

    def handler(event, context):
        sqs.list_queues()
        return [name for name in sys.modules if name.startswith("opentelemetry")]
"""
SQLALCHEMY = """
    from sqlalchemy import create_engine, text

    connection = create_engine("sqlite://").connect()

    def handler(event, context):
        return connection.execute(text("SELECT 17")).scalar()
"""
PSYCOPG = """
    import os
    import psycopg

    connection = psycopg.connect(os.environ["DATABASE"])

    def handler(event, context):
        return connection.execute("SELECT 17").fetchone()[0]
"""
REDIS = """
    import os
    import redis

    client = redis.Redis(unix_socket_path=os.environ["SOCKET"])
    client.ping()

    def handler(event, context):
        return client.incrby("orders", 17)
"""
BY_HAND = """
    import os
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    import requests

    RequestsInstrumentor().instrument(
        request_hook=lambda span, request: span.set_attribute("order", 17)
    )

    def handler(event, context):
        requests.get(os.environ["URL"])
"""
BY_HAND_LATER = BY_HAND.replace("import os\n", "import os, requests\n", 1)
AT_INIT = """
    import os, sys
    import requests, httpx, urllib3, redis
    from opentelemetry import trace

    trace.get_tracer_provider()
    loaded = "opentelemetry.sdk.trace" in sys.modules
    tracers = "opentelemetry.instrumentation.requests" in sys.modules

    def handler(event, context):
        return [loaded, tracers, "opentelemetry.sdk.trace" in sys.modules]
"""
BROKEN_INDEX = "json broken_instruments:Broken\nmine mine_instruments:Mine # by us\nnonsense\n"
INDEXED = """
    import json, mine

    def handler(event, context):
        return mine.patched
"""
MINE_INSTRUMENTS = """
import mine
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Mine(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return []
    def _instrument(self, **options):
        mine.patched += 1
    def _uninstrument(self, **options):
        mine.patched -= 1
"""


@pytest.fixture
def web() -> Iterator[Web]:
    """What the function calls."""
    with Web() as server:
        yield server


def environment(python: Path, **variables: str) -> dict[str, Any]:
    """Settings of a function in the environment that holds the libraries."""
    known = {"PYTHONPATH": own_package().name, "OTEL_METRICS_EXPORTER": "none"}
    return {"python": str(python), "variables": known | variables}


def observe(
    collector: Collector, folder: Path, source: str, settings: dict[str, Any]
) -> list[Item]:
    """The spans of a function that has been invoked once, with X-Ray's header."""
    with running(folder, source, endpoint=collector.http_endpoint, **settings) as function:
        record = function.invoke(trace_header=TRACE)
        assert record.function_error is None, record.answer
        function.shutdown()
    return collector.wait_for_spans(3)


def only_client(spans: list[Item]) -> Item:
    """The one client span of the invocation, which is a child of the invoke span."""
    invoke = one(spans, "shop")
    (client,) = (
        span for span in spans if span["kind"] == CLIENT and span["traceId"] == invoke["traceId"]
    )
    assert invoke["spanId"] == client["parentSpanId"]
    return client


def traceparent(span: Item) -> str:
    """The header that names the span."""
    return f"00-{span['traceId']}-{span['spanId']}-01"


@pytest.mark.parametrize("source", [REQUESTS, HTTPX, URLLIB3, AIOHTTP, INSIDE])
def test_http_clients(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path, source: str
) -> None:
    """A call is a client span in the invocation, named on the wire beside X-Ray's own header."""
    settings = environment(instrument_python, URL=web.url)
    client = only_client(observe(collector, tmp_path, source, settings))
    (request,) = web.requests

    assert traceparent(client) == request["traceparent"]
    assert TRACE == request[XRAY]


def test_botocore(collector: Collector, web: Web, instrument_python: Path, tmp_path: Path) -> None:
    """An AWS call is a client span; the header that AWS finds loops by is the invocation's."""
    settings = environment(instrument_python, URL=web.url)
    client = only_client(observe(collector, tmp_path, BOTO3, settings))
    (request,) = web.requests

    assert "SQS.ListQueues" == client["name"]
    assert traceparent(client) == request["traceparent"]
    assert "traceparent" not in request["authorization"]
    assert TRACE == request[XRAY]


def test_botocore_where_the_trace_is_of_xray(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path
) -> None:
    """There the header's parent is the client span, and its Lineage is kept."""
    settings = environment(instrument_python, URL=web.url, LAMBDASCOPE_XRAY="parent")
    client = only_client(observe(collector, tmp_path, BOTO3, settings))
    (request,) = web.requests

    root = HEADER.partition(";")[0]
    assert f"{root};Parent={client['spanId']};Sampled=1;Lineage={LINEAGE}" == request[XRAY]
    assert traceparent(client) == request["traceparent"]


@pytest.mark.parametrize("text", ["none", "httpx"])
def test_botocore_without_opentelemetry(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path, text: str
) -> None:
    """Without its instrumentor an AWS call carries the invoke span, and nothing is loaded."""
    settings = environment(instrument_python, URL=web.url, LAMBDASCOPE_INSTRUMENT=text)
    with running(tmp_path, BOTO3, endpoint=collector.http_endpoint, **settings) as function:
        answer = json.loads(function.invoke(trace_header=TRACE).answer)
        function.shutdown()
    spans = collector.wait_for_spans(3)
    (request,) = web.requests

    assert [] == answer
    assert [] == [span for span in spans if span["kind"] == CLIENT]
    assert traceparent(one(spans, "shop")) == request["traceparent"]
    assert TRACE == request[XRAY]


def test_several_at_a_time(collector: Collector, instrument_python: Path, tmp_path: Path) -> None:
    """Each AWS call carries its own invocation's header, which no environment variable has."""
    settings = environment(instrument_python) | MANAGED | {"max_concurrency": 2}
    headers = [f"{HEADER};Lineage={number}:0" for number in range(2)]
    with Web(together=2) as web:
        settings["variables"]["URL"] = web.url
        with (
            running(tmp_path, BOTO3, endpoint=collector.http_endpoint, **settings) as function,
            ThreadPoolExecutor(2) as pool,
        ):
            calls = [pool.submit(function.invoke, trace_header=each) for each in headers]
            assert [None, None] == [call.result(30).function_error for call in calls]
            function.shutdown()
    spans = collector.wait_for_spans(6)

    assert headers == sorted(request[XRAY] for request in web.requests)
    clients = named(spans, "SQS.ListQueues")
    assert {traceparent(span) for span in clients} == {
        request["traceparent"] for request in web.requests
    }
    assert {span["spanId"] for span in named(spans, "shop")} == {
        span["parentSpanId"] for span in clients
    }


def test_sqlalchemy(collector: Collector, instrument_python: Path, tmp_path: Path) -> None:
    """A statement is a client span."""
    settings = environment(instrument_python)

    assert "SELECT" in only_client(observe(collector, tmp_path, SQLALCHEMY, settings))["name"]


def test_psycopg(collector: Collector, instrument_python: Path, tmp_path: Path) -> None:
    """A statement that PostgreSQL runs is a client span."""
    programs = peers.postgres_folder()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine")
    with running_postgres(programs) as database:
        settings = environment(instrument_python, DATABASE=database)
        client = only_client(observe(collector, tmp_path, PSYCOPG, settings))

    assert "SELECT" in client["name"]


def test_redis(collector: Collector, instrument_python: Path, tmp_path: Path) -> None:
    """A command that Redis runs is a client span."""
    program = peers.redis_server()
    if program is None:
        pytest.skip("no Redis server on this machine")
    with running_redis(program) as socket:
        settings = environment(instrument_python, SOCKET=socket)
        client = only_client(observe(collector, tmp_path, REDIS, settings))

    assert "INCRBY" == client["name"]


@pytest.mark.parametrize("source", [BY_HAND, BY_HAND_LATER])
def test_instrumented_by_hand(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path, source: str
) -> None:
    """What the function instruments itself, before or after us, is so once, with its options."""
    settings = environment(instrument_python, URL=web.url)
    client = only_client(observe(collector, tmp_path, source, settings))

    assert 17 == client["attributes"]["order"]


def test_instrumented_by_the_wrapper(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path
) -> None:
    """What opentelemetry-instrument has done before us is not done again, and joins our trace."""
    bin_folder = instrument_python.parent
    settings = environment(instrument_python, URL=web.url, PATH=f"{bin_folder}:/usr/bin:/bin")
    wrapper = str(bin_folder / "opentelemetry-instrument")
    settings["runtime"] = (wrapper, str(instrument_python), "-m", "lambdascope", "{handler}")
    client = only_client(observe(collector, tmp_path, REQUESTS, settings))

    assert [traceparent(client)] == [request["traceparent"] for request in web.requests]


def test_what_is_left_out(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path
) -> None:
    """OpenTelemetry's variable for it is honoured: the layer below is traced then."""
    settings = environment(
        instrument_python, URL=web.url, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="requests"
    )
    client = only_client(observe(collector, tmp_path, REQUESTS, settings))

    assert "opentelemetry.instrumentation.urllib3" == client["scope"]["name"]


def test_instrumentors_do_not_load_the_sdk(instrument_python: Path, tmp_path: Path) -> None:
    """A library that is imported and not used costs its instrumentor, and no more."""
    settings = environment(instrument_python) | {"own_extension": False}
    with running(tmp_path, AT_INIT, endpoint=None, **settings) as function:
        assert [False, True, False] == json.loads(function.invoke().answer)


def test_propagators_that_are_not_installed(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path
) -> None:
    """A missing one is said in one line and costs nothing else; X-Ray's needs no package."""
    settings = environment(instrument_python, URL=web.url, OTEL_PROPAGATORS="b3,xray")
    with running(tmp_path, REQUESTS, endpoint=collector.http_endpoint, **settings) as function:
        function.invoke(trace_header=TRACE)
        function.shutdown()
        said = [text for text in function.lines.texts() if text.startswith("lambdascope: ")]
    client = only_client(collector.wait_for_spans(3))
    (request,) = web.requests

    assert 1 == len(said)
    assert said[0].startswith("lambdascope: OTEL_PROPAGATORS: 'b3' cannot be used (ModuleNotFound")
    assert "traceparent" not in request
    root = f"1-{client['traceId'][:8]}-{client['traceId'][8:]}"
    expected = f"Root={root};Parent={client['spanId']};Sampled=1;Lineage={LINEAGE}"
    assert expected == request[XRAY]


def test_an_index(collector: Collector, instrument_python: Path, tmp_path: Path) -> None:
    """Further instrumentors come from a file; one that fails is said, and the import goes on."""
    tmp_path.joinpath("broken_instruments.py").write_text("raise RuntimeError('no\\nway')")
    tmp_path.joinpath("mine_instruments.py").write_text(MINE_INSTRUMENTS)
    tmp_path.joinpath("mine.py").write_text("patched = 0")
    index = tmp_path / "index"
    index.write_text(BROKEN_INDEX)
    settings = environment(instrument_python, LAMBDASCOPE_INSTRUMENT_INDEX=str(index))
    settings["own_extension"] = False
    with running(tmp_path, INDEXED, endpoint=None, **settings) as function:
        assert b"1" == function.invoke().answer
        said = [text for text in function.lines.texts() if text.startswith("lambdascope: ")]

    assert 1 == len(said)
    assert said[0].startswith(
        "lambdascope: json is not traced: its instrumentor broken_instruments"
    )
    assert "RuntimeError: no" in said[0]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_direct_export_is_not_traced(
    collector: Collector, web: Web, instrument_python: Path, tmp_path: Path, protocol: str
) -> None:
    """An export by the runtime itself, through an instrumented library, makes no spans."""
    grpc = protocol == "grpc"
    settings = environment(
        instrument_python,
        URL=web.url,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.grpc_endpoint if grpc else collector.http_endpoint,
    )
    settings["own_extension"] = False
    with running(tmp_path, REQUESTS, endpoint=None, **settings) as function:
        for _ in range(3):
            function.invoke()
        spans = collector.wait_for_spans(10)

    assert 3 == len(named(spans, "shop")) == len([s for s in spans if s["kind"] == CLIENT])
