"""A stock SDK's spans say by their attributes which invocation they are of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from lambdascope.otlp import names
from lambdascope.otlp.protobuf import varint
from lambdascope.wire.names import CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF
from lambdascope_extension.handed_over import HandedOver
from lambdascope_extension.records.joins import Joins
from lambdascope_extension.records.overheard import MAX_JSON_BYTES, overhear
from unit.extension.records.platform_kit import Kit, attributes, done, report, start

KINDS = [CONTENT_TYPE_PROTOBUF, CONTENT_TYPE_JSON]


def span(number: int, request_id: str = "", **fields: Any) -> dict[str, Any]:
    """A span in OTLP/JSON, whose ids are made of the number."""
    attributes = {"padding": "x" * 5000, **fields.pop("attributes", {})}
    if request_id:
        attributes[names.FAAS_INVOCATION_ID] = request_id
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "work",
        "kind": 2,
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()],
        **fields,
    }


def body(kind: str, *spans: dict[str, Any]) -> bytes:
    """A request with these spans, each in a scope of its own."""
    scopes = [{"scope": {"name": f"s{n}"}, "spans": [one]} for n, one in enumerate(spans)]
    document = {"resourceSpans": [{"resource": {}, "scopeSpans": scopes}]}
    if kind == CONTENT_TYPE_JSON:
        return json.dumps(document).encode()
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    for one in spans:
        made = resource.scope_spans.add().spans.add()
        made.trace_id, made.span_id = bytes.fromhex(one["traceId"]), bytes.fromhex(one["spanId"])
        made.parent_span_id = bytes.fromhex(one.get("parentSpanId", ""))
        made.kind = Span.SpanKind.ValueType(one["kind"])
        for pair in one["attributes"]:
            made.attributes.add(key=pair["key"]).value.string_value = pair["value"]["stringValue"]
    return request.SerializeToString()


def joins_of(kind: str, content: bytes) -> Joins:
    """What an extension that has overheard this body knows."""
    handed = HandedOver()
    overhear(handed, kind, content)
    assert not handed.is_fed
    return Joins(handed)


@pytest.mark.parametrize("kind", KINDS)
def test_the_span_of_the_invocation(kind: str) -> None:
    """It is found behind others, however long these are, with its trigger and its error."""
    told = {names.FAAS_TRIGGER: "http", names.ERROR_TYPE: "KeyError"}
    content = body(kind, span(1), span(2), span(3, "r1", attributes=told), span(4, "r2"))
    joins = joins_of(kind, content)

    found, other = joins.find("r1"), joins.find("r2")
    assert found is not None
    assert other is not None
    assert (3, 3) == (int(found.trace_id.hex(), 16), int(found.span_id.hex(), 16))
    assert ("http", "KeyError") == (found.trigger, found.error_type)
    assert 4 == int(other.span_id.hex(), 16)
    assert joins.find("r3") is None


@pytest.mark.parametrize("kind", KINDS)
def test_an_internal_span_speaks_for_its_parent(kind: str) -> None:
    """As with our runtime's own: the invocation is what it is a part of."""
    joins = joins_of(kind, body(kind, span(1, "r1", kind=1, parentSpanId="00000000000000aa")))
    found = joins.find("r1")
    assert found is not None
    assert b"\0\0\0\0\0\0\0\xaa" == found.span_id


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"resourceSpans":7,"x":"faas.invocation_id"}',
        (
            b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"zz","traceId":1,"attributes":['
            b'{"key":"faas.invocation_id","value":{"stringValue":"r1"}},7,{"key":1}]}]}]}]}'
        ),
        b'{"faas.invocation_id": ',
        b'"' + b"[" * 100_000 + b"faas.invocation_id",
        b"\x0a\x12faas.invocation_id\x12",
        b"\x0a\x20\x12\x1e\x0a\x12faas.invocation_id\x12\x04\x0a\x02r1",
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_left_alone(kind: str, content: bytes) -> None:
    """Anybody on the host may send anything."""
    assert joins_of(kind, content).find("r1") is None


def test_large_json_is_not_parsed() -> None:
    """It would become ten times as large in memory."""
    padding = {"padding": "x" * MAX_JSON_BYTES}
    content = body(CONTENT_TYPE_JSON, span(1, "r1", attributes=padding))
    assert joins_of(CONTENT_TYPE_JSON, content).find("r1") is None


def test_many_in_one_body_are_bounded() -> None:
    """A sender cannot make the walk as long as it likes."""
    content = body(CONTENT_TYPE_PROTOBUF, *(span(n + 1, f"r{n}") for n in range(40)))
    joins = joins_of(CONTENT_TYPE_PROTOBUF, content)
    found = [n for n in range(40) if joins.find(f"r{n}")]
    assert list(range(16)) == found


def test_marks_outside_spans_cost_one_walk() -> None:
    """A body made to be walked once for each mark, which would take hours, is walked once."""
    mark = b"\x0a\x12faas.invocation_id\x12"
    scopes = b"\x12\x00" * 40_000
    resource = b"".join((b"\x0a", varint(len(mark) * 40_000), mark * 40_000))
    content = body(CONTENT_TYPE_PROTOBUF, span(1, "r1"))
    hostile = b"".join((b"\x0a", varint(len(scopes + resource)), scopes, resource, content))

    joins = joins_of(CONTENT_TYPE_PROTOBUF, hostile)
    assert joins.find("r1") is not None


def test_a_span_of_very_many_fields_is_not_read_to_its_end() -> None:
    """The work for one span is bounded as well."""
    content = ExportTraceServiceRequest.FromString(body(CONTENT_TYPE_PROTOBUF, span(1, "r1")))
    attributes = content.resource_spans[0].scope_spans[0].spans[0].attributes
    last = attributes.pop()
    for _ in range(5000):
        attributes.add(key="k")
    attributes.append(last)
    joins = joins_of(CONTENT_TYPE_PROTOBUF, content.SerializeToString())
    assert joins.find("r1") is None


@pytest.mark.parametrize("status", ["timeout", "failure", "error"])
def test_a_failure_without_a_trace_is_one(status: str) -> None:
    """Where an SDK could not say anything any more the platform's word is all there is."""
    kit = Kit()
    kit.take(start(), done(status=status), report(status=status))
    kit.take(start("well"), done("well"), report("well"))
    made = kit.finish()

    (span,) = made.spans
    assert names.SPAN_PLATFORM_REPORT == span.name
    assert (16, b"") == (len(span.trace_id), span.parent_span_id)
    assert status == attributes(span)[names.LAMBDASCOPE_PLATFORM_STATUS]
    assert names.STATUS_ERROR == span.status.code
    assert {("no_trace",): 1} == made.values(names.LAMBDASCOPE_TELEMETRY_PROBLEMS)


def test_a_failure_of_our_runtime_waits_for_its_trace() -> None:
    """Where a runtime hands over, what it could not say is told by what it left behind."""
    kit = Kit()
    kit.handed_over.is_fed = True
    kit.take(start(), done(status="timeout"), report(status="timeout"))

    assert [] == kit.finish().spans
