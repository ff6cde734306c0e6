"""The real runtime process and the extension's end of the handoff.

Both ends around the process are fakes (runtime_fakes): a scripted Runtime API and a listener in
the extension's place. What arrives is read with the official protobuf package.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.handoff import BUDGET_S
from runtime_fakes import (
    LIMIT_S,
    TRACE,
    HandoffStub,
    RuntimeProcess,
    ScriptedApi,
    close,
    event,
    run,
    settle,
    status,
    write_app,
)

if TYPE_CHECKING:
    from pathlib import Path

protobuf = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="the OpenTelemetry packages are not installed here",
)
ECHO = "def handler(event, context): return event"
SLACK_S = 3.0


def _spans(body: bytes) -> dict[str, object]:
    request = protobuf.ExportTraceServiceRequest.FromString(body)
    (resource,) = request.resource_spans
    return {span.name: span for span in resource.scope_spans[0].spans}


def _attributes(span: object) -> dict[str, object]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


def test_spans_of_two_invocations(tmp_path: Path) -> None:
    """The first invocation comes with init, its parts and imports; the second with two spans."""
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.005)")
    code = f"import slow\n{ECHO}\n"
    with HandoffStub(tmp_path) as stub:
        outcome = run(
            tmp_path, code, [event(b'"12345"', "r1", Lambda_Runtime_Trace_Id=TRACE), event()]
        )
    first, second = (_spans(body) for _, body in stub.posts)
    by_id = {span.span_id: span.name for span in first.values()}
    parents = {
        name: by_id.get(span.parent_span_id, "")
        for name, span in first.items()
        if not name.startswith("import ") or name in ("import app", "import slow")
    }

    assert {
        "hello": "",
        "report hello": "hello",
        "init hello": "hello",
        "interpreter start": "init hello",
        "load runtime": "init hello",
        "load handler": "init hello",
        "connect extension": "init hello",
        "import app": "load handler",
        "import slow": "import app",
    } == parents
    assert {"hello", "report hello"} == set(second)
    assert [str(len(first)), "2"] == [head["lambdascope-done"] for head, _ in stub.posts]
    assert 7 == _attributes(first["report hello"])["lambdascope.response.size"]
    assert 1 == len(first["hello"].links)
    assert "" == outcome.err


def test_order_of_times(tmp_path: Path) -> None:
    """Init, its parts, the invocation and the report follow each other without overlap."""
    before_ns = time.time_ns()
    with HandoffStub(tmp_path) as stub:
        run(tmp_path, ECHO, [event()])
    spans = _spans(stub.posts[0][1])
    order = ["interpreter start", "load runtime", "load handler", "connect extension"]
    edges = [
        edge
        for name in [*order, "hello", "report hello"]
        for edge in (spans[name].start_time_unix_nano, spans[name].end_time_unix_nano)
    ]

    assert sorted(edges) == edges
    assert spans["init hello"].start_time_unix_nano == edges[0]
    # /proc counts in steps of 10 ms.
    assert before_ns - 20_000_000 <= edges[0]
    assert edges[-1] <= time.time_ns()


def test_error_spans(tmp_path: Path) -> None:
    """A failed invocation has its error on the span, and the report says that it was one."""
    with HandoffStub(tmp_path) as stub:
        run(tmp_path, "def handler(e, c): raise KeyError('x')", [event()])
    spans = _spans(stub.posts[0][1])

    assert "KeyError" == _attributes(spans["hello"])["error.type"]
    assert "error" == _attributes(spans["report hello"])["lambdascope.response.mode"]


def test_failed_init(tmp_path: Path) -> None:
    """A failed init is handed over as well, with the imports up to the failure."""
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.005)")
    with HandoffStub(tmp_path) as stub:
        outcome = run(tmp_path, "import slow\nimport nothing_such")
    ((head, body),) = stub.posts
    spans = _spans(body)

    assert "Runtime.ImportModuleError" == _attributes(spans["init hello"])["error.type"]
    assert "import slow" in spans
    assert str(len(spans)) == head["lambdascope-done"]
    assert (1, "") == (outcome.status, outcome.err)


def test_refused_answer(tmp_path: Path) -> None:
    """The status of the Runtime API is on the report, also when the runtime ends of it."""
    with HandoffStub(tmp_path) as stub:
        run(tmp_path, ECHO, [event(), event()], [status(413), status(500)])
    codes = [
        _attributes(_spans(body)["report hello"])["lambdascope.response.status_code"]
        for _, body in stub.posts
    ]

    assert [413, 500] == codes


@pytest.mark.parametrize(
    "environ", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}]
)
def test_telemetry_off(environ: dict[str, str], tmp_path: Path) -> None:
    """With telemetry off the extension gets no spans, and still the end of each invocation."""
    code = "import sys\ndef handler(e, c): return [m for m in sys.modules if 'lambdascope' in m]"
    with HandoffStub(tmp_path) as stub:
        outcome = run(tmp_path, code, [event(), event(request_id="r2")], **environ)

    assert [("r1", "0", b""), ("r2", "0", b"")] == [
        (head["lambdascope-request-id"], head["lambdascope-done"], body)
        for head, body in stub.posts
    ]
    modules = json.loads(outcome.api.responses[1])
    assert "lambdascope.runtime.phases" not in modules
    assert "" == outcome.err


def test_no_extension(tmp_path: Path) -> None:
    """Without an extension no spans are made, and nothing is said."""
    code = "import sys\ndef handler(e, c): return 'lambdascope.runtime.phases' in sys.modules"

    outcome = run(tmp_path, code, [event(), event()])

    assert [b"false", b"false"] == outcome.api.responses
    assert "" == outcome.err


def test_no_extension_where_one_is_wanted(tmp_path: Path) -> None:
    """Without an extension an endpoint is exported to directly; what it does not take is said."""
    outcome = run(tmp_path, ECHO, [event()], OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")

    assert 1 == len(outcome.api.responses)
    assert "spans could not be exported" in outcome.err


def test_extension_that_dies(tmp_path: Path) -> None:
    """When the extension dies the function goes on; the loss is said and summed up."""
    write_app(tmp_path, ECHO)
    with HandoffStub(tmp_path) as stub:

        def kill(exchange: object) -> None:
            stub._listener.close()
            event(b"1", "r2")(exchange)

        nexts = [event(b"0"), kill, *[event(str(n).encode(), f"r{n}") for n in range(3, 8)]]
        with ScriptedApi(nexts) as api, RuntimeProcess(api.address, tmp_path) as process:
            outcome = settle(api, process)

    assert 7 == len(outcome.api.responses)
    lines = outcome.err.splitlines()
    assert lines[0].startswith("lambdascope: handoff to the extension failed: ")
    assert "lambdascope: handoff given up; the function runs on without telemetry" == lines[1]
    assert lines[2].endswith(" spans could not be handed to the extension")
    assert 3 == len(lines)
    assert 0 == outcome.status


@pytest.mark.parametrize("code", [401, 500])
def test_extension_that_refuses(code: int, tmp_path: Path) -> None:
    """An extension that answers hello with an error is one line, and the function runs."""
    with HandoffStub(tmp_path, [status(code)]) as stub:
        outcome = run(tmp_path, ECHO, [event(b"1")])

    assert [b"1"] == outcome.api.responses
    assert [] == stub.posts
    assert (
        f"lambdascope: the extension answered {code}; telemetry stays in this process\n"
        == outcome.err
    )


def test_extension_that_hangs(tmp_path: Path) -> None:
    """An extension that stops answering costs each invocation its budget, three times at most."""
    with HandoffStub(tmp_path) as stub:
        stub._answers += [status(200, ""), *[stub.hang] * 20]
        started = time.monotonic()
        outcome = run(tmp_path, ECHO, [event(b"1", f"r{n}") for n in range(10)])
        took_s = time.monotonic() - started

    assert 10 == len(outcome.api.responses)
    assert 3 * BUDGET_S < took_s < 3 * BUDGET_S + SLACK_S
    assert "handoff given up" in outcome.err


def test_extension_that_drops_a_post(tmp_path: Path) -> None:
    """One lost post is counted as lost, and the next ones arrive."""
    with HandoffStub(tmp_path, [status(200, ""), close]) as stub:
        outcome = run(tmp_path, ECHO, [event(b"1", f"r{n}") for n in range(3)])

    assert ["r0", "r1", "r2"] == [head["lambdascope-request-id"] for head, _ in stub.posts]
    assert "spans could not be handed to the extension" in outcome.err
    assert 3 == len(outcome.api.responses)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_odd_file(make: object, tmp_path: Path) -> None:
    """Whatever is in the place of the handoff file, the function runs."""
    make(tmp_path / "handoff")

    outcome = run(tmp_path, ECHO, [event(b"1")])

    assert [b"1"] == outcome.api.responses
    assert outcome.err.startswith(f"lambdascope: handoff file {tmp_path}/handoff: not a regular")


def test_answer_comes_before_telemetry(tmp_path: Path) -> None:
    """The response is posted before anything is handed over."""
    order: list[str] = []
    write_app(tmp_path, ECHO)
    with HandoffStub(tmp_path) as stub:

        def posted(exchange: object) -> None:
            order.append(f"posted, {len(stub.posts)} handed over")
            status(202)(exchange)

        with (
            ScriptedApi([event(b"1"), event(b"2")], [posted, posted]) as api,
            RuntimeProcess(api.address, tmp_path) as process,
        ):
            settle(api, process)

    assert "posted, 0 handed over" == order[0]
    assert 2 == len(stub.posts)


def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Thousands of invocations with different trace headers leave nothing behind."""
    code = """
import os
def handler(event, context):
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
"""
    count = 4000
    events = [
        event(b"1", f"r{n}", Lambda_Runtime_Trace_Id=TRACE.replace("5759", f"{n:04x}"))
        for n in range(count)
    ]
    write_app(tmp_path, code)
    with (
        HandoffStub(tmp_path),
        ScriptedApi(events) as api,
        RuntimeProcess(api.address, tmp_path) as process,
    ):
        assert api.idle.wait(3 * LIMIT_S)
        outcome = settle(api, process)
    sizes = [int(body) for body in outcome.api.responses]

    # putenv alone would keep more than 400 kB.
    assert sizes[-1] - sizes[500] < 200_000
    assert count == len(sizes)
