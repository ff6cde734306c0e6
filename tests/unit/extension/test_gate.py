"""What is taken out on the way into the buffer, and what cannot be looked through."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from lambdascope.wire import names
from lambdascope_extension.batch import Message
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.gate import NOT_SCRUBBED, open_gate
from lambdascope_extension.ledger import Ledger

SECRET = "s3cr3t-value"


def body(key: str) -> bytes:
    """One span with one attribute."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="a")
    span.attributes.append(KeyValue(key=key, value={"string_value": SECRET}))
    return request.SerializeToString()


class Kit:
    """A gate, and what is behind it."""

    def __init__(self, text: str = "") -> None:
        self.lines: list[str] = []
        self.buffer = Buffer(Ledger())
        self.gate = open_gate(self.buffer, {names.ENV_SCRUB: text}, self.lines.append)

    def put(self, data: bytes, kind: str = names.CONTENT_TYPE_PROTOBUF) -> bytes:
        """What is in the buffer after a body was put; nothing of it is left there."""
        message = Message(signal="traces", kind=kind, body=data, items=1, received=1.0)
        assert self.gate.put(message)
        assert self.gate.held_bytes == self.buffer.held_bytes
        batch = self.buffer.take()
        if batch is None:
            return b""
        self.buffer.exported(batch)
        assert 0 == self.buffer.held_bytes
        return batch.body


def test_secrets_do_not_reach_the_buffer() -> None:
    """By default they are replaced in both forms; the rest is the same."""
    kit = Kit()
    assert SECRET.encode() not in kit.put(body("http.request.header.authorization"))
    assert body("http.route") == kit.put(body("http.route"))
    text = b'{"resourceSpans":[{"resource":{"attributes":[{"key":"token","value":"x"}]}}]}'
    assert b'"token","value":{"stringValue":"[scrubbed]"}' in kit.put(text, names.CONTENT_TYPE_JSON)
    assert [] == kit.lines


def test_names_of_the_user() -> None:
    """They are added, and one that is not understood is said once."""
    kit = Kit("+customer, what")
    assert SECRET.encode() not in kit.put(body("app.customer"))
    assert SECRET.encode() not in kit.put(body("cookie"))
    (line,) = kit.lines
    assert "LAMBDASCOPE_SCRUB 'what'" in line


def test_turned_off() -> None:
    """Without scrubbing there is no gate."""
    kit = Kit("off")
    assert kit.gate is kit.buffer
    assert SECRET.encode() in kit.put(body("password"))


def test_what_cannot_be_searched_is_dropped_and_counted() -> None:
    """Bytes inside a span that are no fields could hide a secret: one line, and the ledger."""
    kit = Kit()
    hidden = body("password").replace(b"\x0a\x08password", b"\x0a\x7fpassword")
    assert b"" == kit.put(hidden) == kit.put(hidden)
    harmless = body("http.route").replace(b"\x0a\x0ahttp.route", b"\x0a\x7fhttp.route")
    assert harmless == kit.put(harmless)
    account = kit.buffer.ledger.accounts["traces"]
    assert (3, 1, {NOT_SCRUBBED: 2}) == (account.accepted, account.exported, account.dropped)
    (line,) = kit.lines
    assert "dropped" in line
    assert SECRET not in line


def test_everything_behind_the_gate_can_be_dropped() -> None:
    """As at the end of the process."""
    kit = Kit()
    message = Message(
        signal="traces", kind=names.CONTENT_TYPE_PROTOBUF, body=body("a"), items=1, received=1.0
    )
    assert kit.gate.put(message)
    kit.gate.drop_all("shutdown")
    assert 0 == kit.buffer.held_bytes
    assert {"shutdown": 1} == kit.gate.ledger.accounts["traces"].dropped
