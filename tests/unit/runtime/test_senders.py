"""Whose child an invocation is, and how its span tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from unit.runtime.event_kit import SPAN_ID, TRACE_ID, TRACEPARENT, Run, attributes_of, sample
from unit.runtime.kit import TRACE

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_SPAN = bytes.fromhex("00f067aa0ba902b7")
XRAY_SPAN = bytes.fromhex("53995c3f42cd8ad8")
WITH_HEADERS = {"headers": {"TraceParent": TRACEPARENT, "tracestate": "a=1", "baggage": "k=v"}}


def client(**fields: object) -> dict[str, str]:
    """The header with a client context."""
    return {"lambda_runtime_client_context": json.dumps(fields)}


def decision(span: Span) -> tuple[object, ...]:
    """What the span says about its parent."""
    attributes = attributes_of(span)
    keys = ("source", "reason", "sampled")
    return tuple(attributes.get(f"lambdascope.parent.{key}") for key in keys)


def test_nobody_has_sent_anything() -> None:
    """Without any context the trace begins here."""
    span = Run({}).invoke()

    assert ("none", None, None) == decision(span)
    assert (b"", []) == (span.parent_span_id, list(span.links))


def test_client_context_goes_first() -> None:
    """The client context's own member for it is the parent; the others are linked."""
    headers = client(w3c={"traceparent": OTHER}, custom={"traceparent": TRACEPARENT})
    headers["lambda_runtime_trace_id"] = TRACE

    span = Run(WITH_HEADERS, headers).invoke()

    reason = "client_context: linked; event: linked; xray: linked"
    assert ("client_context", reason, None) == decision(span)
    assert OTHER_SPAN == span.parent_span_id
    assert {XRAY_SPAN, SPAN_ID} == {link.span_id for link in span.links}


@pytest.mark.parametrize("name", ["w3c", "custom"])
def test_client_context_of_a_direct_invocation(name: str) -> None:
    """An event of one's own needs no carrier when the client context has one."""
    span = Run({}, client(**{name: {"traceparent": TRACEPARENT}})).invoke()

    assert ("client_context", None, None) == decision(span)
    assert (TRACE_ID, SPAN_ID) == (span.trace_id, span.parent_span_id)
    assert span.flags == 0x301


def test_headers_of_a_request() -> None:
    """The caller's span is the parent, whatever the case of the header, and its state is kept."""
    run = Run(WITH_HEADERS)
    span = run.invoke()

    assert ("event", None, None) == decision(span)
    assert (TRACE_ID, SPAN_ID, "a=1") == (span.trace_id, span.parent_span_id, span.trace_state)
    assert run.times.trace is not None
    assert run.times.trace.baggage == "k=v"


def test_same_context_twice() -> None:
    """What came both ways, also as X-Ray's header, is the parent and is not linked besides."""
    ids = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
    headers = client(custom={"TraceParent": ids}) | {"lambda_runtime_trace_id": TRACE}

    span = Run({"headers": {"traceparent": ids}}, headers).invoke()

    assert ("client_context", XRAY_SPAN) == (decision(span)[0], span.parent_span_id)
    assert "event" not in str(decision(span)[1])
    assert [] == list(span.links)


def test_baggage_is_the_parents() -> None:
    """The first sender's baggage stays; baggage alone is a context that nobody can get wrong."""
    headers = client(custom={"traceparent": OTHER, "baggage": "c=1"})
    run, alone = Run(WITH_HEADERS, headers), Run({"headers": {"baggage": "k=v"}})

    assert ("client_context", "event: linked", None) == decision(run.invoke())
    assert ("none", None, None) == decision(alone.invoke())
    assert run.times.trace is not None
    assert alone.times.trace is not None
    assert ("c=1", "k=v") == (run.times.trace.baggage, alone.times.trace.baggage)


def test_crowded_client_context() -> None:
    """One with more fields than anybody sends is not searched."""
    fields = {f"field{number}": "x" for number in range(200)}

    span = Run({}, client(custom=fields | {"traceparent": TRACEPARENT})).invoke()

    assert ("none", b"") == (decision(span)[0], span.parent_span_id)


@pytest.mark.parametrize(
    "name", ["websocket", "alb-multi-value", "vpc-lattice", "appsync", "cloudfront"]
)
def test_headers_in_other_shapes(name: str) -> None:
    """Lists of values, lists of pairs and headers of an inner request are read too."""
    span = Run(sample(name)).invoke()

    assert ("event", SPAN_ID) == (decision(span)[0], span.parent_span_id)


def test_several_values_of_a_trace_state() -> None:
    """They are one list."""
    assert Run(sample("alb-multi-value")).invoke().trace_state == "a=1,b=2"


@pytest.mark.parametrize("where", [(), ("headers",)])
def test_event_of_a_bus(where: tuple[str, ...]) -> None:
    """An event's detail may carry the sender's context, itself or in its headers."""
    event = sample("eventbridge")
    for key in where:
        event["detail"][key] = {}
    inner = event["detail"]["headers"] if where else event["detail"]
    inner["traceparent"] = TRACEPARENT

    span = Run(event).invoke()

    assert ("event", SPAN_ID) == (decision(span)[0], span.parent_span_id)


def topic_message() -> object:
    """A topic's message with a context."""
    event = sample("sns")
    attributes = event["Records"][0]["Sns"]["MessageAttributes"]
    attributes["traceparent"] = {"Type": "String", "Value": TRACEPARENT}
    return event


def test_single_message_of_a_topic() -> None:
    """It is the parent, and not linked besides."""
    span = Run(topic_message()).invoke()

    assert ("event", SPAN_ID) == (decision(span)[0], span.parent_span_id)
    assert [] == list(span.links)


def test_single_message_of_a_topic_and_xray() -> None:
    """Where X-Ray is the backend its header goes first, and the message is linked."""
    header = {"lambda_runtime_trace_id": TRACE}

    span = Run(topic_message(), header, LAMBDASCOPE_XRAY="parent").invoke()

    assert ("xray", "event: linked", None) == decision(span)
    assert (XRAY_SPAN, [SPAN_ID]) == (span.parent_span_id, [each.span_id for each in span.links])


def test_caller_of_a_topics_function() -> None:
    """Who called directly with a topic's message waits for the answer, and goes before X-Ray."""
    headers = client(custom={"traceparent": OTHER}) | {"lambda_runtime_trace_id": TRACE}

    span = Run(topic_message(), headers, LAMBDASCOPE_XRAY="parent").invoke()

    assert ("client_context", OTHER_SPAN) == (decision(span)[0], span.parent_span_id)


def test_several_messages_of_a_topic() -> None:
    """A batch has no parent but links."""
    event = topic_message()
    event["Records"] *= 2

    span = Run(event).invoke()

    assert ("none", b"", 2) == (decision(span)[0], span.parent_span_id, len(span.links))


def test_not_sampled_elsewhere_is_recorded_here() -> None:
    """A caller that does not record switches nothing off, and the span says so."""
    event = {"headers": {"traceparent": TRACEPARENT[:-1] + "0"}}

    span = Run(event).invoke()

    assert ("event", None, False) == decision(span)
    assert (SPAN_ID, 0x301) == (span.parent_span_id, span.flags)


@pytest.mark.parametrize(
    ("header", "policy", "expected"),
    [
        (TRACE, "parent", ("xray", None)),
        (TRACE, "link", ("none", "xray: linked")),
        (TRACE.replace("Sampled=1", "Sampled=0"), "parent", ("none", "xray: linked, not sampled")),
        (TRACE.partition(";")[0], "link", ("none", "xray: no parent in it")),
        ("Self=1", "parent", ("none", "xray: malformed")),
    ],
)
def test_xray_header(header: str, policy: str, expected: tuple[str, str | None]) -> None:
    """Whatever becomes of X-Ray's header, the span says it."""
    run = Run({}, {"lambda_runtime_trace_id": header}, LAMBDASCOPE_XRAY=policy)

    assert expected == decision(run.invoke())[:2]


def test_event_goes_before_xray() -> None:
    """A context that came with the request is the parent, also where X-Ray is the backend."""
    run = Run(WITH_HEADERS, {"lambda_runtime_trace_id": TRACE}, LAMBDASCOPE_XRAY="parent")
    span = run.invoke()

    assert ("event", "xray: linked", None) == decision(span)
    assert ([XRAY_SPAN], SPAN_ID) == ([each.span_id for each in span.links], span.parent_span_id)


@pytest.mark.parametrize("text", ["", "x", f"ff-{TRACEPARENT[3:]}", "00-" + "0" * 51, "é" * 10_000])
def test_malformed_context(text: str) -> None:
    """It is not taken, the next one is, and the span says why."""
    headers = client(custom={"traceparent": text})

    span = Run(WITH_HEADERS, headers).invoke()

    # An empty text is none at all.
    assert ("event", "client_context: malformed" if text else None) == decision(span)[:2]


@pytest.mark.parametrize("fields", [{"custom": 1}, {"custom": {"traceparent": 5}}, {"w3c": []}, {}])
def test_odd_client_context(fields: dict[str, object]) -> None:
    """Anything else in a client context is none of our business."""
    assert ("none", None, None) == decision(Run({}, client(**fields)).invoke())


def test_lineage_is_kept() -> None:
    """What Lambda finds loops by is there to be passed on."""
    run = Run({}, {"lambda_runtime_trace_id": f"{TRACE};Lineage=1:a87bd80c:0"})

    assert run.times.trace is not None
    assert run.times.trace.lineage == "1:a87bd80c:0"


@pytest.mark.parametrize(
    ("propagators", "source", "links"),
    [
        ("tracecontext", "event", 0),
        ("none", "none", 0),
        ("b3", "none", 0),
        ("baggage", "none", 0),
        ("xray", "none", 2),
    ],
)
def test_propagators_choose_the_carriers(propagators: str, source: str, links: int) -> None:
    """OTEL_PROPAGATORS says which contexts are looked at, in requests and in records."""
    request = Run(WITH_HEADERS, OTEL_PROPAGATORS=propagators).invoke()
    batch = Run(sample("sqs"), OTEL_PROPAGATORS=propagators).spans()[2]

    assert source == decision(request)[0]
    assert links == len(batch.links)


def test_header_of_xray_in_a_request_when_asked() -> None:
    """With the propagator xray named, the request's own header is a carrier."""
    event = {"headers": {"X-Amzn-Trace-Id": TRACE}}

    asked = Run(event, OTEL_PROPAGATORS="tracecontext,xray").invoke()

    assert ("event", XRAY_SPAN) == (decision(asked)[0], asked.parent_span_id)
    assert decision(Run(event).invoke())[0] == "none"
