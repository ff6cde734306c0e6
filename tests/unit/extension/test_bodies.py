"""Bodies of OTLP requests: what is taken, what is refused, and what is counted."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from fake_collector import span_names, traces
from lambdascope.wire.names import CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF, MAX_PAYLOAD_BYTES
from lambdascope_extension.bodies import (
    BadBody,
    content_kind,
    count_items,
    decoded,
    status_body,
)


def refusal(call: object, *arguments: object) -> int:
    """The status with which a call refuses."""
    with pytest.raises(BadBody) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.status


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/x-protobuf", CONTENT_TYPE_PROTOBUF),
        ("Application/JSON; charset=utf-8", CONTENT_TYPE_JSON),
    ],
)
def test_content_types_of_otlp(content_type: str, kind: str) -> None:
    """Both of OTLP's content types are known, in any case and with parameters."""
    assert kind == content_kind(content_type)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/grpc"])
def test_other_content_types(content_type: str) -> None:
    """Everything else is an unsupported media type."""
    assert 415 == refusal(content_kind, content_type)


@pytest.mark.parametrize("encoding", ["", "identity", "GZIP", "x-gzip", "deflate"])
def test_encodings(encoding: str) -> None:
    """gzip and deflate are undone, nothing is nothing."""
    body = b"some bytes" * 1000
    if "gzip" in encoding.lower():
        sent = gzip.compress(body)
    else:
        sent = zlib.compress(body) if encoding == "deflate" else body
    assert body == decoded(encoding, sent)


@given(parts=st.lists(st.binary(max_size=200_000), max_size=4))
def test_gzip_members_behind_each_other(parts: list[bytes]) -> None:
    """Concatenated gzip members are one body, as RFC 1952 says."""
    assert b"".join(parts) == decoded("gzip", b"".join(gzip.compress(part, 1) for part in parts))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_unknown_encodings(encoding: str) -> None:
    """An encoding that is not known is refused and not guessed."""
    assert 415 == refusal(decoded, encoding, b"body")


@pytest.mark.parametrize(
    "damaged", [b"plain", gzip.compress(b"body" * 99)[:-9], gzip.compress(b"body") + b"rest"]
)
def test_damaged_gzip(damaged: bytes) -> None:
    """Garbage, a cut body and garbage behind a body are bad requests."""
    assert 400 == refusal(decoded, "gzip", damaged)


def test_gzip_bomb() -> None:
    """A body that inflates beyond the limit is refused after that much, not after all of it."""
    megabyte = gzip.compress(bytes(1024 * 1024), 9)
    assert 413 == refusal(decoded, "gzip", megabyte * 5000)
    assert MAX_PAYLOAD_BYTES == len(decoded("gzip", gzip.compress(bytes(MAX_PAYLOAD_BYTES))))


def test_spans_are_counted() -> None:
    """Spans of protobuf are counted, also in appended bodies."""
    body = traces("a", "b") + traces("c")
    assert 3 == count_items("traces", CONTENT_TYPE_PROTOBUF, body)
    assert ["a", "b", "c"] == span_names(body)


def test_other_signals_are_counted_too() -> None:
    """Log records are counted as spans are."""
    request = ExportLogsServiceRequest()
    for _ in range(3):
        request.resource_logs.add().scope_logs.add().log_records.add(severity_text="INFO")
    assert 3 == count_items("logs", CONTENT_TYPE_PROTOBUF, request.SerializeToString())


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
@pytest.mark.parametrize("body", [b"garbage", b"\x0a\xff\xff\xff\xff\x0f", traces("a")[:-1]])
def test_garbage_is_refused(signal: str, body: bytes) -> None:
    """What would damage the bodies it is appended to is refused."""
    assert 400 == refusal(count_items, signal, CONTENT_TYPE_PROTOBUF, body)


def test_work_is_bounded() -> None:
    """A body of millions of empty fields is refused before they are all looked at."""
    assert 400 == refusal(count_items, "logs", CONTENT_TYPE_PROTOBUF, b"\x0a\x00" * 3_000_000)


def test_json_spans_are_counted_without_parsing() -> None:
    """Every span's start time counts, other places where the name stands do not."""
    span = {
        "name": '"startTimeUnixNano":',
        "startTimeUnixNano": "1",
        "attributes": [{"key": "startTimeUnixNano", "value": {"stringValue": "startTimeUnixNano"}}],
        "links": [{"spanId": "00"}],
    }
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span, span]}]}]}
    for text in (json.dumps(document), json.dumps(document, indent=2)):
        assert 2 == count_items("traces", CONTENT_TYPE_JSON, text.encode())
    assert 1 == count_items("logs", CONTENT_TYPE_JSON, b" {}\n")


@pytest.mark.parametrize("body", [b"[]", b"{", b"x{}", b"null"])
def test_json_that_is_no_object(body: bytes) -> None:
    """A JSON request is an object."""
    assert 400 == refusal(count_items, "traces", CONTENT_TYPE_JSON, body)


@given(text=st.text(max_size=400))
def test_refusals_have_a_status_message(text: str) -> None:
    """The body of a refusal is a google.rpc.Status in either form, whatever the text."""
    protobuf = status_body(CONTENT_TYPE_PROTOBUF, text)
    assert (0x12, len(protobuf) - 2) == (protobuf[0], protobuf[1])
    assert ["message"] == list(json.loads(status_body(CONTENT_TYPE_JSON, repr(text))))
