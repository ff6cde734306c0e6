"""Requests cut in two: together they say what the whole said, as the official package reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp.split import halves, json_halves

SIGNALS = {
    "traces": (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
    "metrics": (ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics"),
    "logs": (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
}
SHAPES = st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=3)


def request(signal: str, shape: list[list[int]]) -> Any:
    """A request: a resource for each list, in it a scope for each number of items."""
    made, resources, scopes, items = SIGNALS[signal]
    message = made()
    number = 0
    for counts in shape:
        resource = getattr(message, resources).add(schema_url=f"r{len(counts)}")
        resource.resource.attributes.add(key="service.name").value.string_value = "s"
        for count in counts:
            scope = getattr(resource, scopes).add(schema_url="s")
            scope.scope.name = f"scope {count}"
            for _ in range(count):
                number += 1
                item = getattr(scope, items).add()
                setattr(item, "severity_text" if signal == "logs" else "name", f"n{number}")
    return message


def said(signal: str, message: Any) -> list[tuple[str, ...]]:
    """Every item with all that is around it."""
    _, resources, scopes, items = SIGNALS[signal]
    return [
        (str(resource.resource), resource.schema_url, str(scope.scope), scope.schema_url, str(item))
        for resource in getattr(message, resources)
        for scope in getattr(resource, scopes)
        for item in getattr(scope, items)
    ]


def parse(signal: str, body: bytes) -> Any:
    """The official package's reading."""
    message = SIGNALS[signal][0]()
    message.ParseFromString(body)
    return message


@given(signal=st.sampled_from(sorted(SIGNALS)), shape=SHAPES)
def test_halves_say_the_same(signal: str, shape: list[list[int]]) -> None:
    """Every item is in one of the halves, with its own resource and scope around it."""
    message = request(signal, shape)
    both = halves(message.SerializeToString())
    if both is None:
        assert len(said(signal, message)) <= 1
        return
    first, second = (said(signal, parse(signal, half)) for half in both)
    assert said(signal, message) == first + second


@given(shape=SHAPES)
def test_cutting_comes_to_an_end(shape: list[list[int]]) -> None:
    """Cut again and again, a request becomes as many requests of one item as it has items."""
    left = [request("traces", shape).SerializeToString()]
    single = []
    for _ in range(300):
        if not left:
            break
        body = left.pop()
        both = halves(body)
        if both is None:
            single.append(len(said("traces", parse("traces", body))))
        else:
            left += both
    assert [] == left
    assert set(single) <= {0, 1}
    assert sum(sum(counts) for counts in shape) == sum(single)


def test_halves_are_about_equal() -> None:
    """The border lies where it halves the bytes."""
    both = halves(request("traces", [[200]]).SerializeToString())
    assert both is not None
    assert abs(len(both[0]) - len(both[1])) < 100


@pytest.mark.parametrize("body", [b"\x0a\x05abc", b"\xff" * 20, b"\x0b"])
def test_garbage_is_refused(body: bytes) -> None:
    """What is no protobuf message is a ValueError, never a wrong half."""
    with pytest.raises(ValueError, match="byte"):
        halves(body)


@given(signal=st.sampled_from(sorted(SIGNALS)), shape=SHAPES)
def test_json_halves_say_the_same(signal: str, shape: list[list[int]]) -> None:
    """JSON is cut at the same borders."""
    whole = MessageToDict(request(signal, shape))
    both = json_halves(json.dumps(whole).encode())
    if both is not None:
        merged = request(signal, [])
        made = type(merged)
        first, second = (said(signal, ParseDict(json.loads(half), made())) for half in both)
        assert said(signal, request(signal, shape)) == first + second
    else:
        assert len(said(signal, request(signal, shape))) <= 1


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"resourceSpans":{}}', b'{"resourceSpans":[7]}'])
def test_json_of_another_shape_is_not_cut(body: bytes) -> None:
    """JSON without the repeated fields of a request has no halves."""
    assert json_halves(body) is None
