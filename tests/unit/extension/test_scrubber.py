"""What is taken out of what leaves the buffer, and what cannot be looked through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from lambdascope.wire import names
from lambdascope_extension import scrubber
from lambdascope_extension.batch import Message
from lambdascope_extension.buffer import NOT_SCRUBBED, Buffer
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.scrubber import open_scrubber

if TYPE_CHECKING:
    import pytest

SECRET = "s3cr3t-value"


def body(key: str) -> bytes:
    """One span with one attribute."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="a")
    span.attributes.append(KeyValue(key=key, value={"string_value": SECRET}))
    return request.SerializeToString()


class Kit:
    """A buffer with a scrubber."""

    def __init__(self, text: str = "") -> None:
        self.lines: list[str] = []
        self.buffer = Buffer(Ledger())
        self.buffer.scrubber = open_scrubber({names.ENV_SCRUB: text}, self.lines.append)

    def put(self, data: bytes, kind: str = names.CONTENT_TYPE_PROTOBUF) -> None:
        """Put a body into the buffer."""
        message = Message(signal="traces", kind=kind, body=data, items=1, received=1.0)
        assert self.buffer.put(message)

    def passed(self, *bodies: bytes, kind: str = names.CONTENT_TYPE_PROTOBUF) -> bytes:
        """What leaves the buffer after bodies were put; nothing of it is left there."""
        for data in bodies:
            self.put(data, kind)
        batch = self.buffer.take()
        if batch is None:
            assert 0 == self.buffer.held_bytes
            return b""
        assert len(batch.body) == self.buffer.held_bytes == sum(size for size, _ in batch.parts)
        self.buffer.exported(batch)
        assert 0 == self.buffer.held_bytes
        return batch.body


def test_secrets_do_not_leave_the_buffer() -> None:
    """By default they are replaced in both forms; the rest is the same."""
    kit = Kit()
    assert SECRET.encode() not in kit.passed(body("http.request.header.authorization"))
    assert body("http.route") == kit.passed(body("http.route"))
    text = b'{"resourceSpans":[{"resource":{"attributes":[{"key":"token","value":"x"}]}}]}'
    assert b'"token","value":{"stringValue":"[scrubbed]"}' in kit.passed(
        text, kind=names.CONTENT_TYPE_JSON
    )
    assert [] == kit.lines


def test_names_of_the_user() -> None:
    """They are added, and one that is not understood is said once."""
    kit = Kit("+customer, what")
    assert SECRET.encode() not in kit.passed(body("app.customer"))
    assert SECRET.encode() not in kit.passed(body("cookie"))
    (line,) = kit.lines
    assert "LAMBDASCOPE_SCRUB 'what'" in line


def test_turned_off() -> None:
    """Then nothing is looked for."""
    kit = Kit("off")
    assert kit.buffer.scrubber is None
    assert SECRET.encode() in kit.passed(body("password"))


def test_one_of_many() -> None:
    """Only the bodies with secrets change; borders of messages follow, for later cuts."""
    kit = Kit()
    clean = body("http.route")
    passed = kit.passed(clean, body("password"), clean)
    assert passed.startswith(clean)
    assert passed.endswith(clean)
    assert SECRET.encode() not in passed[len(clean) : -len(clean)]


def test_what_cannot_be_searched_is_dropped_and_counted() -> None:
    """Bytes inside a span that are no fields could hide a secret: one line, and the ledger."""
    kit = Kit()
    hidden = body("password").replace(b"\x0a\x08password", b"\x0a\x7fpassword")
    assert b"" == kit.passed(hidden) == kit.passed(hidden)
    harmless = body("http.route").replace(b"\x0a\x0ahttp.route", b"\x0a\x7fhttp.route")
    assert harmless == kit.passed(harmless)
    account = kit.buffer.ledger.accounts["traces"]
    assert (3, 1, {NOT_SCRUBBED: 2}) == (account.accepted, account.exported, account.dropped)
    (line,) = kit.lines
    assert "dropped" in line
    assert SECRET not in line


def test_a_fault_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be searched is dropped, also if nobody says why."""

    def refuse(*_: object) -> bytes:
        raise ValueError

    monkeypatch.setattr(scrubber, "_scrubbed", refuse)
    kit = Kit()
    assert b"" == kit.passed(body("password"))
    assert {NOT_SCRUBBED: 1} == kit.buffer.ledger.accounts["traces"].dropped
    assert "(ValueError)" in kit.lines[0]


def test_a_good_body_beside_one_that_cannot_be_searched() -> None:
    """It leaves alone."""
    kit = Kit()
    hidden = body("password").replace(b"\x0a\x08password", b"\x0a\x7fpassword")
    assert body("http.route") == kit.passed(hidden, body("http.route"))
    assert {NOT_SCRUBBED: 1} == kit.buffer.ledger.accounts["traces"].dropped


def test_what_is_given_up_is_not_searched() -> None:
    """As at the end of the process: the reason is the ledger's."""
    kit = Kit()
    kit.put(body("password"))
    kit.buffer.drop_all("shutdown")
    assert 0 == kit.buffer.held_bytes
    assert {"shutdown": 1} == kit.buffer.ledger.accounts["traces"].dropped
