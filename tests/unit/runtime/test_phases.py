"""The spans of an invocation, as the official protobuf package reads them."""

from __future__ import annotations

import time

import pytest

from lambdascope import __version__
from lambdascope.clock import Clock
from lambdascope.otlp import names
from lambdascope.runtime.faults import ErrorReport
from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.phases import Phases, arn_attributes, resource_attributes
from unit.runtime.kit import ARN, TRACE, make_config, make_invocation, make_times

protobuf = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="the OpenTelemetry packages are not installed here",
)
MS = 1_000_000


class _Environment:
    """One execution environment's phases, and the times of its next invocation."""

    def __init__(self, *, waited_ms: int = 1, **environ: str) -> None:
        self.config = make_config(**environ)
        self.clock = Clock()
        now = time.monotonic_ns()
        self.init = InitPhase(
            function_name="hello",
            init_type=self.config.init_type,
            entered_ns=now - (waited_ms + 50) * MS,
            cpu_ns=10 * MS,
        )
        self.init.ended_ns = now - waited_ms * MS
        self.phases = Phases(self.config, self.clock, self.init)

    def finish(self, error: ErrorReport | None = None, **headers: str) -> list[object]:
        """Return the spans of an invocation that has been reported."""
        self.times = make_times(make_invocation(**headers))
        self.times.entered_ns = self.times.received_ns + MS
        self.times.returned_ns = self.times.received_ns + 3 * MS
        self.times.reported_ns = self.times.received_ns + 4 * MS
        self.times.response_size = 17
        self.times.status_code = 202
        return self.read(*self.phases.finished(self.times, error))

    def read(self, body: bytes, count: int) -> list[object]:
        """Return the spans in the bytes, after a look at their number."""
        request = protobuf.ExportTraceServiceRequest.FromString(body)
        self.resource = request.resource_spans[0].resource
        self.scope = request.resource_spans[0].scope_spans[0].scope
        spans = list(request.resource_spans[0].scope_spans[0].spans)
        assert count == len(spans)
        return spans


def _attributes(message: object) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in message.attributes}


def _value(value: object) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)


def _report() -> ErrorReport:
    try:
        raise KeyError("missing")
    except KeyError as error:
        return ErrorReport(error, "id")


def test_invoke_span() -> None:
    """The invocation's span is named after the function and has the conventions' attributes."""
    environment = _Environment()
    invoke = environment.finish(lambda_runtime_aws_tenant_id="t", lambda_runtime_trace_id=TRACE)[0]
    times, offset = environment.times, environment.clock.offset_ns

    assert ("hello", names.KIND_SERVER, 0) == (invoke.name, invoke.kind, invoke.status.code)
    assert times.received_ns + offset == invoke.start_time_unix_nano
    assert times.returned_ns + offset == invoke.end_time_unix_nano
    attributes = _attributes(invoke)
    remaining = [
        attributes.pop(name)
        for name in (names.LAMBDASCOPE_REMAINING_START_MS, names.LAMBDASCOPE_REMAINING_END_MS)
    ]
    assert 2900 <= remaining[1] < remaining[0] <= 3000
    assert {
        "faas.trigger": "other",
        "faas.invocation_id": times.invocation.request_id,
        "faas.coldstart": True,
        "aws.lambda.invoked_arn": ARN,
        "cloud.account.id": "123456789012",
        "cloud.resource_id": ARN,
        "lambdascope.deadline_ms": times.invocation.deadline_ms,
        "lambdascope.tenant_id": "t",
        "aws.xray.trace_id": "1-5759e988-bd862e3fe1be46a994272793",
        "lambdascope.parent.source": "none",
        "lambdascope.parent.reason": "xray: linked",
    } == attributes


def test_report_span() -> None:
    """The report is a child of the invocation, from the handler's return to the answer."""
    environment = _Environment()
    invoke, report = environment.finish()[:2]
    times, offset = environment.times, environment.clock.offset_ns

    assert ("report hello", invoke.span_id, invoke.trace_id) == (
        report.name,
        report.parent_span_id,
        report.trace_id,
    )
    assert times.returned_ns + offset == report.start_time_unix_nano
    assert times.reported_ns + offset == report.end_time_unix_nano
    assert {
        "faas.invocation_id": times.invocation.request_id,
        "lambdascope.response.size": 17,
        "lambdascope.response.mode": "buffered",
        "lambdascope.response.status_code": 202,
    } == _attributes(report)


def test_first_invocation_has_init_once() -> None:
    """Init on demand is a part of the first invocation's trace, and of no other."""
    environment = _Environment()
    first, second = environment.finish(), environment.finish()
    init = next(span for span in first if span.name == "init hello")

    assert (first[0].trace_id, first[0].span_id) == (init.trace_id, init.parent_span_id)
    assert ["hello", "report hello"] == [span.name for span in second]
    assert _attributes(second[0])["faas.coldstart"] is False
    assert first[0].trace_id != second[0].trace_id


@pytest.mark.parametrize(
    ("waited_ms", "init_type"), [(60_000, "on-demand"), (1, "provisioned-concurrency")]
)
def test_init_ahead_of_time_is_linked(waited_ms: int, init_type: str) -> None:
    """Init that nobody waited for is a trace of its own, to which the first invocation links."""
    environment = _Environment(waited_ms=waited_ms, AWS_LAMBDA_INITIALIZATION_TYPE=init_type)
    spans = environment.finish()
    init = next(span for span in spans if span.name == "init hello")

    assert init.trace_id != spans[0].trace_id
    assert b"" == init.parent_span_id
    assert [(init.trace_id, init.span_id)] == [
        (link.trace_id, link.span_id) for link in spans[0].links
    ]


@pytest.mark.parametrize(
    ("waited_ms", "init_type", "expected"),
    [
        (1, "on-demand", "on-demand"),
        (9_900, "on-demand", "on-demand"),
        (10_000, "on-demand", "proactive"),
        (60_000, "provisioned-concurrency", "provisioned-concurrency"),
        (60_000, "lambda-managed-instances", "lambda-managed-instances"),
    ],
)
def test_kinds_of_init_are_told_apart(waited_ms: int, init_type: str, expected: str) -> None:
    """An init that Lambda ran ahead of a function on demand has a kind of its own."""
    environment = _Environment(waited_ms=waited_ms, AWS_LAMBDA_INITIALIZATION_TYPE=init_type)
    init = next(span for span in environment.finish() if span.name == "init hello")

    assert expected == _attributes(init)["lambdascope.init.type"]


def test_error() -> None:
    """A failure is the span's status, its error.type, and one exception event."""
    environment = _Environment()
    invoke, report = environment.finish(_report())[:2]
    (event,) = invoke.events

    assert (names.STATUS_ERROR, "'missing'") == (invoke.status.code, invoke.status.message)
    assert "KeyError" == _attributes(invoke)["error.type"]
    assert ("exception", invoke.end_time_unix_nano) == (event.name, event.time_unix_nano)
    attributes = _attributes(event)
    assert ("KeyError", "'missing'") == (
        attributes["exception.type"],
        attributes["exception.message"],
    )
    assert "raise KeyError" in attributes["exception.stacktrace"]
    assert "error" == _attributes(report)["lambdascope.response.mode"]


def test_error_before_the_handler() -> None:
    """An invocation whose handler was never entered has true remaining times all the same."""
    environment = _Environment()
    times = make_times()
    times.returned_ns = times.reported_ns = times.received_ns + MS
    spans = environment.read(*environment.phases.finished(times, _report()))

    attributes = _attributes(spans[0])

    assert attributes[names.LAMBDASCOPE_REMAINING_START_MS] > 2900
    assert attributes[names.LAMBDASCOPE_REMAINING_END_MS] > 2900


def test_after_the_deadline() -> None:
    """No time left is 0, never less."""
    environment = _Environment()
    times = make_times(make_invocation(in_ms=-10))
    times.entered_ns = times.returned_ns = times.reported_ns = times.received_ns
    spans = environment.read(*environment.phases.finished(times, None))

    assert 0 == _attributes(spans[0])[names.LAMBDASCOPE_REMAINING_END_MS]


def test_cut_short() -> None:
    """An invocation that was cut off ends now, with the reason as its error."""
    environment = _Environment()
    times = make_times()
    times.entered_ns = times.received_ns
    spans = environment.read(*environment.phases.cut_short(times, "timeout", "ended by Lambda"))

    invoke = spans[0]
    assert (names.STATUS_ERROR, "ended by Lambda") == (invoke.status.code, invoke.status.message)
    assert "timeout" == _attributes(invoke)["error.type"]
    assert invoke.end_time_unix_nano >= invoke.start_time_unix_nano
    assert {"hello", "init hello", "interpreter start"} == {span.name for span in spans}


def test_init_failed() -> None:
    """A failed init is a trace of its own with the failure on it."""
    environment = _Environment()
    spans = environment.read(*environment.phases.init_failed(_report()))

    assert "init hello" == spans[0].name
    assert "KeyError" == _attributes(spans[0])["error.type"]
    assert b"" == spans[0].parent_span_id


def test_xray_parent() -> None:
    """Where X-Ray is the backend the whole invocation is in X-Ray's trace."""
    environment = _Environment(LAMBDASCOPE_XRAY="parent")
    spans = environment.finish(lambda_runtime_trace_id=TRACE)

    assert {"5759e988bd862e3fe1be46a994272793"} == {span.trace_id.hex() for span in spans}
    assert "53995c3f42cd8ad8" == spans[0].parent_span_id.hex()


def test_resource_and_scope() -> None:
    """The resource says which function, instance and runtime; users' values come last."""
    environment = _Environment(
        OTEL_RESOURCE_ATTRIBUTES="team=pay,faas.name=renamed", OTEL_SERVICE_NAME="shop"
    )
    environment.finish()

    attributes = _attributes(environment.resource)

    assert (names.SCOPE_RUNTIME, True) == (environment.scope.name, bool(environment.scope.version))
    expected = {
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": "eu-central-1",
        "faas.name": "renamed",
        "faas.version": "$LATEST",
        "faas.instance": "2026/01/01/[$LATEST]abc",
        "faas.max_memory": 134_217_728,
        "service.name": "shop",
        "aws.log.group.names": ["/aws/lambda/hello"],
        "aws.log.stream.names": ["2026/01/01/[$LATEST]abc"],
        "team": "pay",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "lambdascope",
        "telemetry.sdk.version": __version__,
        "telemetry.distro.name": "lambdascope",
        "telemetry.distro.version": __version__,
    }
    assert expected == {key: attributes[key] for key in expected}


def test_resource_of_nothing_known() -> None:
    """What is not known is left out; a service always has a name."""
    config = make_config(
        AWS_LAMBDA_FUNCTION_NAME="",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="lots",
        AWS_LAMBDA_LOG_GROUP_NAME="",
        AWS_LAMBDA_LOG_STREAM_NAME="",
        AWS_REGION="",
    )

    attributes = resource_attributes(config)

    assert "unknown_service" == attributes["service.name"]
    assert not {"faas.name", "faas.max_memory", "aws.log.group.names"} & set(attributes)


@pytest.mark.parametrize(
    ("arn", "version", "resource_id"),
    [
        (ARN, "$LATEST", ARN),
        (f"{ARN}:live", "7", f"{ARN}:7"),
        (f"{ARN}:live", "", f"{ARN}:live"),
        (f"{ARN}:7", "7", f"{ARN}:7"),
    ],
)
def test_alias_becomes_version(arn: str, version: str, resource_id: str) -> None:
    """cloud.resource_id names the version behind an alias; the ARN itself stays beside it."""
    found = arn_attributes(arn, version)

    assert (arn, resource_id) == (found["aws.lambda.invoked_arn"], found["cloud.resource_id"])


@pytest.mark.parametrize("arn", ["", "nonsense", "arn:aws:lambda"])
def test_odd_arn(arn: str) -> None:
    """An ARN of another form gives no account and no resource id."""
    assert set(arn_attributes(arn, "1")) <= {"aws.lambda.invoked_arn"}
