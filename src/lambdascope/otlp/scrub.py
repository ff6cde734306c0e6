"""Replaces the values of secret attributes in OTLP requests, and secrets in texts, and leaves all
other bytes as they are.

The extension calls it for every body that leaves. Only messages that one of the rules' needles is
in are walked, and only those in which a value was replaced are written anew, with the lengths
around them. JSON is decoded. Source of the field numbers: opentelemetry-proto 1.11.
"""

from __future__ import annotations

from lambdascope.otlp.protobuf import BYTE, length_field
from lambdascope.otlp.scrub_rules import SCRUBBED, URL_KEYS
from lambdascope.otlp.scrub_text import scrub_text
from lambdascope.otlp.walk import MAX_FIELDS, WIRE_LENGTH, iter_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdascope.otlp.scrub_rules import ScrubRules

    # What is in a message: the length-delimited fields on the way to an attribute.
    Shape = dict[int, "Shape"]

# A larger one could take the memory of the function when it is decoded.
MAX_JSON_BYTES = 1024 * 1024
_MAX_DEPTH = 16
_KEY_VALUE: Shape = {}
_TEXT: Shape = {}
_VALUE: Shape = {1: _TEXT, 5: {}, 6: {1: _KEY_VALUE}}
_VALUE[5][1] = _VALUE
_URL: Shape = {}
_URL_VALUE: Shape = {1: _URL, 5: {}, 6: _VALUE[6]}
_URL_VALUE[5][1] = _URL_VALUE
_RESOURCE: Shape = {1: _KEY_VALUE}
_SCOPE: Shape = {3: _KEY_VALUE}


def _request(item: Shape) -> Shape:
    return {1: {1: _RESOURCE, 2: {1: _SCOPE, 2: item}}}


def _points(attributes: int, exemplars: int) -> Shape:
    return {1: {attributes: _KEY_VALUE, exemplars: {7: _KEY_VALUE}}}


_SHAPES = {
    "traces": _request({9: _KEY_VALUE, 11: {3: _KEY_VALUE}, 13: {4: _KEY_VALUE}, 15: {2: _TEXT}}),
    "logs": _request({5: _VALUE, 6: _KEY_VALUE}),
    "metrics": _request(
        {
            5: _points(7, 5),
            7: _points(7, 5),
            9: _points(9, 8),
            10: _points(1, 11),
            11: {1: {7: _KEY_VALUE}},
            12: _KEY_VALUE,
        }
    ),
}
_SCRUBBED_VALUE = length_field(b"\x0a", SCRUBBED.encode())


def scrub(signal: str, body: bytes, rules: ScrubRules) -> bytes:
    """The request without secrets; `body` itself if it has none.

    Raises ValueError where a needle is in bytes that are no such request.
    """
    hits = rules.hits(body)
    if not hits:
        return body
    return _Walk(body, rules, hits).message(0, len(body), _SHAPES[signal]) or body


def scrub_json(body: bytes, rules: ScrubRules) -> bytes:
    """The same for a JSON request. Raises ValueError also if it is too large to be decoded."""
    if not rules.is_hit(body):
        return body
    if len(body) > MAX_JSON_BYTES:
        raise ValueError(f"more than {MAX_JSON_BYTES} bytes of JSON")
    import json

    secret: dict[str, bool] = {}
    is_changed = False

    def look(found: dict[str, Any]) -> dict[str, Any]:
        """Called for each object, the innermost first."""
        nonlocal is_changed
        is_changed |= _scrub_texts(found, rules)
        key = found.get("key")
        if isinstance(key, str) and "value" in found:
            if key not in secret:
                secret[key] = rules.matches(key)
            if secret[key]:
                found["value"] = {"stringValue": SCRUBBED}
                is_changed = True
            elif key in URL_KEYS:
                is_changed |= _scrub_urls(found["value"], rules)
        return found

    try:
        request = json.loads(body, object_hook=look)
        if not is_changed:
            return body
        return json.dumps(request, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


class _Walk:
    """One body, and where the needles in it are."""

    __slots__ = ("_body", "_budget", "_hits", "_rules")

    def __init__(self, body: bytes, rules: ScrubRules, hits: list[int]) -> None:
        self._body = body
        self._rules = rules
        self._hits = hits
        self._budget = MAX_FIELDS

    def message(self, start: int, end: int, shape: Shape, depth: int = 0) -> bytes | None:
        """The message anew; None if nothing in it is to be replaced."""
        if not self._is_hit(start, end):
            return None
        out: list[bytes] = []
        copied = begin = start
        for number, wire_type, first, last in iter_fields(self._body, start, end):
            self._budget -= 1
            if not self._budget:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            inner = shape.get(number) if wire_type == WIRE_LENGTH else None
            if inner is not None:
                new = self._field(first, last, inner, depth)
                if new is not None:
                    tag = BYTE[number << 3 | WIRE_LENGTH]
                    out += (self._body[copied:begin], length_field(tag, new))
                    copied = last
            begin = last
        if not out:
            return None
        out.append(self._body[copied:end])
        return b"".join(out)

    def _is_hit(self, start: int, end: int) -> bool:
        hits = self._hits
        low, high = 0, len(hits)
        while low < high:
            middle = (low + high) // 2
            if hits[middle] < start:
                low = middle + 1
            else:
                high = middle
        return low < len(hits) and hits[low] < end

    def _field(self, start: int, end: int, shape: Shape, depth: int) -> bytes | None:
        if shape is _KEY_VALUE:
            return self._key_value(start, end, depth) if self._is_hit(start, end) else None
        if shape is _URL:
            return self._url(start, end)
        if shape is _TEXT:
            return self._text(start, end)
        if shape is _VALUE or shape is _URL_VALUE:
            depth += 1
            if depth > _MAX_DEPTH:
                return _SCRUBBED_VALUE if self._is_hit(start, end) else None
        return self.message(start, end, shape, depth)

    def _key_value(self, start: int, end: int, depth: int) -> bytes | None:
        fields = list(iter_fields(self._body, start, end))
        self._budget = max(1, self._budget - len(fields))
        key = ""
        for number, wire_type, first, last in fields:
            if (number, wire_type) == (1, WIRE_LENGTH):  # of several the last one counts
                key = self._body[first:last].decode("utf-8", "replace")
        if self._rules.matches(key):
            # A value that is there twice is merged: all of them have to go.
            return length_field(b"\x0a", key.encode()) + length_field(b"\x12", _SCRUBBED_VALUE)
        value = _URL_VALUE if key in URL_KEYS else _VALUE
        return self.message(start, end, {2: value}, depth)

    def _text(self, start: int, end: int) -> bytes | None:
        if not self._rules.texts or not self._is_hit(start, end):
            return None
        text = self._body[start:end]
        new = scrub_text(text, self._rules)
        return None if new is text else new

    def _url(self, start: int, end: int) -> bytes | None:
        whole = self._body[start:end]
        plain = self._text(start, end) or whole
        url = self._rules.url(plain.decode("utf-8", "surrogateescape"))
        new = url.encode("utf-8", "surrogateescape")
        return None if new == whole else new


def _scrub_texts(found: dict[str, Any], rules: ScrubRules) -> bool:
    """The same for the text of a decoded value or status; whether there was anything."""
    for key in ("stringValue", "message") if rules.texts else ():
        text = found.get(key)
        if isinstance(text, str):
            whole = text.encode("utf-8", "surrogatepass")
            if rules.is_hit(whole) and (new := scrub_text(whole, rules)) is not whole:
                found[key] = new.decode("utf-8", "surrogatepass")
                return True
    return False


def _scrub_urls(value: Any, rules: ScrubRules) -> bool:
    """Replace what is secret in the texts of a decoded value; whether there was anything."""
    if isinstance(value, dict):
        text = value.get("stringValue")
        if isinstance(text, str):
            value["stringValue"] = rules.url(text)
            return bool(value["stringValue"] != text)
        # An attribute inside has a name of its own.
        value = [] if "key" in value else value.values()
    elif not isinstance(value, list):
        return False
    is_changed = False
    for one in value:
        is_changed |= _scrub_urls(one, rules)
    return is_changed
