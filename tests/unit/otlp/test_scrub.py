"""Secret attributes are replaced and nothing else is, held against the official package."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson, Parse
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from lambdascope.otlp.scrub import MAX_JSON_BYTES, scrub, scrub_json
from lambdascope.otlp.scrub_rules import ScrubRules, read_scrub_rules
from lambdascope.otlp.scrub_text import scrub_text
from unit.otlp.official import patient

SECRET = (
    "authorization",
    "http.request.header.Authorization",
    "http.request.header.proxy-authorization",
    "http.request.header.cookie",
    "http.response.header.set-cookie",
    "http.request.header.x-api-key",
    "http.request.header.x-amz-security-token",
    "db.password",
    "dbPassword",
    "user_secret",
    "aws_secret_access_key",
    "API_KEY",
    "APIKey",
    "api key",
    "accessToken",
    "refresh.token",
    "service.credentials",
)
PLAIN = (
    "http.route",
    "tokens",
    "gen_ai.usage.input_tokens",
    "aws.secretsmanager.secret.arn",
    "secretary",
    "messaging.kafka.message.key",
    "cookie.count",
    "passport",
    "sig",
)
URLS = {
    "https://h/p?a=1&sig=abc#f": "https://h/p?a=1&sig=[scrubbed]#f",
    "https://u:p@h/p": "https://[scrubbed]@h/p",
    "https://h/?X-Amz-Signature=00&X-Amz-Credential=AK%2F1&X-Amz-Date=1": (
        "https://h/?X-Amz-Signature=[scrubbed]&X-Amz-Credential=[scrubbed]&X-Amz-Date=1"
    ),
    "api_key=k&page=2": "api_key=[scrubbed]&page=2",
    "?X-Amz-Security-Token=t": "?X-Amz-Security-Token=[scrubbed]",
    "https://h/p?mail=a@b.c&design=1": "https://h/p?mail=a@b.c&design=1",
    "/only/a/path": "/only/a/path",
    "https://h/p?sig=a?b=c&d=1": "https://h/p?sig=[scrubbed]&d=1",
    "https://h/p#access_token=t&state=1": "https://h/p#access_token=[scrubbed]&state=1",
    "https://h/#/page?token=t": "https://h/#/page?token=[scrubbed]",
}
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln"
DEFAULT = read_scrub_rules("")[0]
assert DEFAULT is not None
REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}

texts = st.one_of(
    # Nothing that could be a part of a URL by chance.
    st.text(st.characters(codec="utf-8", exclude_characters="=@"), max_size=200),
    st.sampled_from(["my password is", "a@b.c", "password=hunter2", JWT, *URLS]),
)
leaves = st.one_of(
    st.builds(AnyValue, string_value=texts),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
    st.builds(AnyValue, bytes_value=st.binary(max_size=20)),
    st.just(AnyValue()),
)
keys = st.sampled_from([*SECRET, *PLAIN, "url.full", "url.query", "http.target"])


def nested(values: Any) -> Any:
    """Values that hold others."""
    lists = st.lists(values, max_size=3)
    maps = st.lists(st.builds(KeyValue, key=keys, value=values), max_size=3)
    return st.one_of(
        lists.map(lambda found: AnyValue(array_value={"values": found})),
        maps.map(lambda found: AnyValue(kvlist_value={"values": found})),
    )


values = st.recursive(leaves, nested, max_leaves=6)
attributes = st.lists(st.builds(KeyValue, key=keys, value=values), max_size=4)


@st.composite
def requests(draw: Any) -> tuple[str, Any]:
    """A request of one of the signals, with attributes wherever there may be some."""
    signal = draw(st.sampled_from(sorted(REQUESTS)))
    request = REQUESTS[signal]()
    for _ in range(draw(st.integers(0, 2))):
        entry = getattr(request, f"resource_{'spans' if signal == 'traces' else signal}").add()
        entry.resource.attributes.extend(draw(attributes))
        scope = getattr(entry, f"scope_{'spans' if signal == 'traces' else signal}").add()
        scope.scope.name = draw(texts)
        scope.scope.attributes.extend(draw(attributes))
        for _ in range(draw(st.integers(0, 2))):
            fill(draw, signal, scope)
    return signal, request


def fill(draw: Any, signal: str, scope: Any) -> None:
    """One more item of a scope."""
    if signal == "traces":
        span = scope.spans.add(name=draw(texts), trace_id=draw(st.binary(max_size=16)))
        span.attributes.extend(draw(attributes))
        span.events.add(name="e").attributes.extend(draw(attributes))
        span.links.add(trace_id=b"\x01").attributes.extend(draw(attributes))
        span.status.message = draw(texts)
    elif signal == "logs":
        record = scope.log_records.add(time_unix_nano=1)
        record.body.CopyFrom(draw(values))
        record.attributes.extend(draw(attributes))
    else:
        metric = scope.metrics.add(name=draw(texts))
        kind = draw(
            st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary"])
        )
        point = getattr(metric, kind).data_points.add(time_unix_nano=5)
        point.attributes.extend(draw(attributes))
        if kind != "summary":
            point.exemplars.add(as_int=1).filtered_attributes.extend(draw(attributes))
        metric.metadata.extend(draw(attributes))


def expected(message: Any) -> Any:
    """The message with the values of all secret keys replaced, by reflection."""
    copy = type(message)()
    copy.CopyFrom(message)
    replace(copy)
    return copy


def without_secrets(text: str) -> str:
    """A text that nothing else is known of."""
    return scrub_text(text.encode(), DEFAULT).decode()


def replace(message: Any, *, is_url: bool = False) -> None:
    """The same in place; `is_url`: it is in the value of a URL's key."""
    if isinstance(message, KeyValue) and message.key in SECRET:
        message.value.CopyFrom(AnyValue(string_value="[scrubbed]"))
        return
    if isinstance(message, KeyValue):
        is_url = message.key in ("url.full", "url.query", "http.target")
    elif isinstance(message, AnyValue) and message.WhichOneof("value") == "string_value":
        text = message.string_value
        message.string_value = URLS[text] if is_url and text in URLS else without_secrets(text)
    elif isinstance(message, Status):
        message.message = without_secrets(message.message)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                replace(one, is_url=is_url)


@patient
@given(requests())
def test_the_same_message_but_for_the_values(made: tuple[str, Any]) -> None:
    """What is written anew reads as the same message, with the secret values replaced; and what
    has none stays the same object."""
    signal, request = made
    body = request.SerializeToString()
    scrubbed = scrub(signal, body, DEFAULT)
    assert expected(request) == REQUESTS[signal].FromString(scrubbed)
    if expected(request) == request:
        assert body is scrubbed


@patient
@given(requests())
def test_json_is_scrubbed_as_protobuf_is(made: tuple[str, Any]) -> None:
    """Both forms of a request lose the same values."""
    signal, request = made
    body = MessageToJson(request).encode()
    assert expected(request) == Parse(scrub_json(body, DEFAULT), REQUESTS[signal]())


@patient
@given(requests(), st.data())
def test_damaged_bytes(made: tuple[str, Any], data: Any) -> None:
    """Whatever the bytes are, there is an answer or a ValueError."""
    signal, request = made
    body = bytearray(request.SerializeToString() + b"password")
    for _ in range(3):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        scrubbed = scrub(signal, bytes(body), DEFAULT)
    except ValueError:
        return
    assert b"password" in scrubbed or b"password" not in body


@pytest.mark.parametrize("key", SECRET)
def test_keys_that_are_secret(key: str) -> None:
    """They match however their words are joined, and a needle is in them."""
    assert DEFAULT.matches(key)
    assert DEFAULT.hits(b"\x0a\x05" + key.encode())


@pytest.mark.parametrize("key", PLAIN)
def test_keys_that_are_not(key: str) -> None:
    """A word inside another, or before the last part, is not one of ours."""
    assert not DEFAULT.matches(key)


@pytest.mark.parametrize(("url", "scrubbed"), URLS.items())
def test_urls(url: str, scrubbed: str) -> None:
    """User, password and signatures go, the rest stays as it was written."""
    assert scrubbed == DEFAULT.url(url)


@given(st.text(st.sampled_from("aA?=&#@:/sig_"), max_size=40))
def test_any_text_as_a_url(text: str) -> None:
    """It is scrubbed once: a second time changes nothing more."""
    once = DEFAULT.url(text)
    assert once == DEFAULT.url(once)


def test_a_key_twice_and_a_value_first() -> None:
    """Of repeated fields the last key counts, and every value goes; the order does not matter."""
    first = KeyValue(key="a", value={"string_value": "hidden-1"}).SerializeToString()
    value = KeyValue(value={"string_value": "hidden-2"}).SerializeToString()
    pair = value + first + KeyValue(key="password").SerializeToString()
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(attributes=[KeyValue.FromString(pair)])
    plain = KeyValue.FromString(pair).SerializeToString()
    body = request.SerializeToString()
    # The official package has put them in order; put our pair in its place.
    assert len(body) < 128
    for length in (0, 1, 2, 3):
        assert plain in body, length
    scrubbed = scrub("traces", _spliced(body, plain, pair), DEFAULT)
    assert b"hidden" not in scrubbed
    span = ExportTraceServiceRequest.FromString(scrubbed).resource_spans[0].scope_spans[0].spans[0]
    assert [("password", "[scrubbed]")] == [
        (one.key, one.value.string_value) for one in span.attributes
    ]


def _spliced(body: bytes, old: bytes, new: bytes) -> bytes:
    """`body`, whose messages are all shorter than 128 bytes, with a part of them exchanged."""
    more = len(new) - len(old)
    grown = bytearray(body.replace(old, new))
    for position in (1, 3, 5, 7):
        grown[position] += more
    return bytes(grown)


def test_values_nested_too_deeply() -> None:
    """Beyond what anybody writes, the whole value goes."""
    value = AnyValue(kvlist_value={"values": [{"key": "password", "value": {"int_value": 1}}]})
    for _ in range(30):
        value = AnyValue(array_value={"values": [value]})
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add().body.CopyFrom(value)
    scrubbed = scrub("logs", request.SerializeToString(), DEFAULT)
    assert b"password" not in scrubbed
    assert b"[scrubbed]" in scrubbed


def test_json_that_is_too_large_to_decode() -> None:
    """It is refused if a needle is in it, and untouched if none is."""
    body = json.dumps({"resourceSpans": [], "x": "y" * MAX_JSON_BYTES}).encode()
    assert body is scrub_json(body, DEFAULT)
    with pytest.raises(ValueError, match="bytes of JSON"):
        scrub_json(body.replace(b"yyyyy", b"token", 1), DEFAULT)
    with pytest.raises(ValueError, match="nested"):
        scrub_json(b"[" * 100_000 + b"token", DEFAULT)


@pytest.mark.parametrize(
    ("text", "secret", "plain", "unknown"),
    [
        ("", "password", "email", ""),
        ("default", "password", "email", ""),
        ("+email", "user.email", "emails", ""),
        ("default,+customer.name,-token", "customer.name", "access_token", ""),
        ("-set-cookie, -Cookie", "token", "set-cookie", ""),
        ("email", "password", "email", "email"),
        ("-unheard", "password", "unheard", "-unheard"),
    ],
)
def test_the_variable(text: str, secret: str, plain: str, unknown: str) -> None:
    """Names are added to and taken from the default; what is not understood is told."""
    rules, problem = read_scrub_rules(text)
    assert isinstance(rules, ScrubRules)
    assert (True, False, unknown) == (rules.matches(secret), rules.matches(plain), problem)
    assert rules.hits(secret.encode())


def test_off_and_without_urls() -> None:
    """Scrubbing can be turned off, or for URLs alone."""
    assert (None, "") == read_scrub_rules("off")
    rules, _ = read_scrub_rules("-url")
    assert rules is not None
    assert "sig=1" == rules.url("sig=1")
    assert [] == rules.hits(b"https://h/?sig=1")
