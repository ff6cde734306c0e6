"""The messages of the Telemetry API: what one side encodes, the other reads back unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire import telemetry_api
from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError
from lambdascope.wire.telemetry_api import Subscribe
from pieces import parse_one
from wire_texts import HEADER_TEXT, PLAIN_JSON

COMMON = (("Host", "127.0.0.1:9001"),)
TYPES = st.lists(st.sampled_from(("platform", "function", "extension")), min_size=1).map(tuple)
BUFFERING = st.tuples(
    st.integers(1000, 10000), st.integers(262144, 1048576), st.integers(25, 30000)
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "time": st.text(),
            "type": st.text(),
            "record": st.text() | st.dictionaries(st.text(), st.integers() | st.text()),
        }
    ),
    max_size=4,
)


def subscribe(**changes: Any) -> Subscribe | None:
    """What a server makes of a valid subscription with changes."""
    fields = {
        "schemaVersion": "2025-01-29",
        "types": ["platform"],
        "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"},
        **changes,
    }
    return telemetry_api.parse_request(
        "PUT", "/2022-07-01/telemetry", {}, json.dumps(fields).encode()
    )


@given(
    st.builds(
        Subscribe,
        identifier=HEADER_TEXT,
        types=TYPES,
        uri=PLAIN_JSON.map("http://sandbox.localdomain:8080/".__add__),
        buffering=BUFFERING,
        schema_version=st.sampled_from(("2022-07-01", "2022-12-13", "2025-01-29")),
    )
)
def test_subscriptions_round_trip(message: Subscribe) -> None:
    """A server reads the subscription that the extension encoded."""
    parsed = parse_one(message.to_request(COMMON), request=True)
    assert parsed.method == "PUT"
    assert message == telemetry_api.parse_request(
        parsed.method, parsed.target, parsed.headers, parsed.body
    )


@given(RECORDS)
def test_batches_round_trip(records: list[dict[str, object]]) -> None:
    """The extension reads the records that the server encoded."""
    texts = [json.dumps(record).encode() for record in records]
    parsed = parse_one(telemetry_api.encode_batch("/in", COMMON, texts), request=True)
    assert (parsed.method, parsed.target) == ("POST", "/in")
    assert parsed.headers["content-type"] == "application/json"
    assert records == telemetry_api.parse_batch(parsed.body)


def test_defaults() -> None:
    """A subscription without buffering gets AWS's defaults."""
    expected = Subscribe(
        identifier="",
        types=("platform",),
        uri="http://sandbox.localdomain:8080",
        buffering=(10000, 262144, 1000),
    )
    assert expected == subscribe(buffering=None)
    assert expected == subscribe(buffering={})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schemaVersion": "2021-01-01"}, "schemaVersion"),
        ({"schemaVersion": None}, "schemaVersion"),
        ({"schemaVersion": ["2025-01-29"]}, "schemaVersion"),
        ({"types": None}, "types"),
        ({"types": []}, "types"),
        ({"types": "platform"}, "types"),
        ({"types": ["platform", "other"]}, "types"),
        ({"types": [["platform"]]}, "types"),
        ({"buffering": [1]}, "buffering"),
        ({"buffering": {"maxItems": 999}}, "maxItems"),
        ({"buffering": {"maxItems": 10001}}, "maxItems"),
        ({"buffering": {"maxBytes": 262143}}, "maxBytes"),
        ({"buffering": {"maxBytes": 1048577}}, "maxBytes"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs"),
        ({"buffering": {"timeoutMs": 30001}}, "timeoutMs"),
        ({"buffering": {"timeoutMs": "1000"}}, "timeoutMs"),
        ({"buffering": {"timeoutMs": 1000.5}}, "timeoutMs"),
        ({"buffering": {"maxItems": True}}, "maxItems"),
        ({"destination": None}, "destination"),
        ({"destination": {"protocol": "TCP", "port": 1}}, "TCP"),
        ({"destination": {"protocol": "HTTP"}}, "URI"),
        ({"destination": {"protocol": "HTTP", "URI": 5}}, "URI"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox:1"}}, "https"),
    ],
)
def test_fields_at_fault_are_named(changes: dict[str, object], named: str) -> None:
    """A subscription that AWS would not take is refused with 400 and the name of the field."""
    with pytest.raises(RemoteProtocolError, match=named) as refused:
        subscribe(**changes)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_object(body: bytes) -> None:
    """They are refused like a malformed field."""
    with pytest.raises(RemoteProtocolError, match="JSON object"):
        telemetry_api.parse_request("PUT", "/2022-07-01/telemetry", {}, body)


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/2022-07-01/telemetry"), ("PUT", "/2020-08-15/logs")]
)
def test_requests_of_no_known_kind(method: str, target: str) -> None:
    """Another method or path is not of this API."""
    assert telemetry_api.parse_request(method, target, {}, b"{}") is None


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_batches_that_are_none(body: bytes) -> None:
    """A batch is a JSON array."""
    with pytest.raises(RemoteProtocolError, match="batch"):
        telemetry_api.parse_batch(body)


def test_items_that_are_no_records() -> None:
    """They are left out, the others are kept."""
    assert telemetry_api.parse_batch(b'[1, null, {"type": "a"}, "x", []]') == [{"type": "a"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"uri": 'http://a"b'},
        {"uri": "http://a\\b"},
        {"uri": "http://a\nb"},
        {"types": ('a"',)},
        {"schema_version": '"'},
        {"identifier": "a\r\nB: c"},
    ],
)
def test_injection(changes: dict[str, Any]) -> None:
    """Nothing that a field holds becomes a header or a JSON field of its own."""
    fields = {
        "identifier": "a",
        "types": ("platform",),
        "uri": "http://a",
        "buffering": (1000, 262144, 25),
        **changes,
    }
    with pytest.raises(LocalProtocolError):
        Subscribe(**fields).to_request(COMMON)
