"""Attributes as OTLP writes them: dicts as ``KeyValue`` fields, any object as an ``AnyValue``.

Every message with attributes is written through it: resources, scopes, spans, events, links. Keys
and values come from users too, so whatever is found is written and nothing raises: what has no form
in the protocol is written as its text. Limits bound the work; a value beyond them is replaced by a
text that says so. It must not know which message the attributes belong to.
Source: opentelemetry-proto, common.proto.
"""

from __future__ import annotations

from lambdascope.otlp.protobuf import BYTE, double, length_field, text_field, utf8, varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

# Users choose keys too, also generated ones: at the bound the cache is emptied and fills again with
# what is in use. Longer keys are not kept.
MAX_CACHED_KEYS = 512
MAX_CACHED_KEY_LENGTH = 128
# Parsers refuse messages nested more than 100 deep (protobuf's usual limit). A dict takes three of
# them for each level of its own, and seven lie around it when it is the attribute of an event.
MAX_DEPTH = 30
# How many values the lists and dicts of one attribute may hold together. It also ends the
# expansion of a list that holds the same list twice, level after level.
MAX_VALUES = 10_000

_TRUE = b"\x10\x01"
_FALSE = b"\x10\x00"


class AttributeWriter:
    """Appends attributes to lists of chunks. One is shared by everything an encoder writes."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}

    def write(self, tag: bytes, attributes: Mapping[str, object], chunks: list[bytes]) -> None:
        """Append one field with `tag` for each attribute. Never raises, whatever the values are."""
        keys = self._keys
        # A copy, because another thread may add attributes to a span that is still open.
        for key, value in list(attributes.items()):
            head = keys.get(key) or self._head(key)
            if type(value) is str:
                text = utf8(value)
                count = len(text)
                size = len(head) + count + 3
                if size < 128:  # then both lengths inside are one byte as well
                    chunks += tag, BYTE[size], head, BYTE[count + 2], b"\x0a", BYTE[count], text
                    continue
                body = text_value(text)
            else:
                body = any_value(value)
            size = len(head) + len(body) + 1
            if size < 128:
                chunks += tag, BYTE[size], head, BYTE[len(body)], body
            else:
                length = varint(len(body))
                chunks += tag, varint(size - 1 + len(length)), head, length, body

    def _head(self, key: str) -> bytes:
        """Return what a KeyValue starts with: its key, and the tag of its value."""
        head = key_field(key) + b"\x12"
        # Only a str: 1, 1.0 and True are one key of a dict, and each has another text.
        if type(key) is str and len(key) <= MAX_CACHED_KEY_LENGTH:
            if len(self._keys) >= MAX_CACHED_KEYS:
                self._keys.clear()
            self._keys[key] = head
        return head


def any_value(value: object) -> bytes:
    """Return the body of the AnyValue for `value`, without its own tag and length.

    str, bool, int, float, bytes, None, lists, tuples and dicts have a form of their own; an int
    beyond 64 bits and every other object is written as its text. Never raises.
    """
    plain = _PLAIN.get(type(value))
    return _Writer().write(value, 0) if plain is None else plain(value)


def text_value(text: bytes) -> bytes:
    """Return the body of the AnyValue that holds this UTF-8 string."""
    return length_field(b"\x0a", text)


def key_field(key: object) -> bytes:
    """Return the key of a KeyValue; nothing for the empty string, which is that field's default."""
    return text_field(b"\x0a", _text(key))


def _text(value: object) -> str:
    try:
        # A subclass of str, such as a StrEnum, is written by its content.
        return str.__str__(value) if isinstance(value, str) else str(value)
    # The __str__ of any object is user code. Telemetry may not fail the invocation.
    except Exception:  # noqa: BLE001
        return _no_text(value)


def _no_text(value: object) -> str:
    return f"<{type(value).__name__}: cannot be written>"


def _integer(number: int) -> bytes:
    if -(1 << 63) <= number < 1 << 63:
        return b"\x18" + varint(number)
    try:
        return text_value(utf8(str(number)))
    except ValueError:  # more decimal digits than sys.set_int_max_str_digits allows
        return text_value(utf8(hex(number)))


# The exact types that need neither the limits nor the caution below, which is most values.
_PLAIN: dict[type, Callable[[Any], bytes]] = {
    str: lambda text: text_value(utf8(text)),
    bool: lambda flag: _TRUE if flag else _FALSE,
    int: _integer,
    float: lambda number: b"\x21" + double(number),
}


class _Writer:
    """Writes one value with everything in it, and counts what is left of MAX_VALUES."""

    __slots__ = ("_values_left",)

    def __init__(self) -> None:
        self._values_left = MAX_VALUES

    def write(self, value: object, depth: int) -> bytes:
        try:
            if isinstance(value, (list, tuple)):
                return self._list(list(value), depth)
            if isinstance(value, dict):
                return self._dict(list(value.items()), depth)  # another thread may be changing it
            return self._scalar(value)
        # The methods of subclasses are user code. Telemetry may not fail the invocation.
        except Exception:  # noqa: BLE001
            return text_value(utf8(_no_text(value)))

    def _scalar(self, value: object) -> bytes:
        if value is None:
            return b""
        if isinstance(value, bool):
            return _TRUE if value else _FALSE
        if isinstance(value, int):
            return _integer(int.__index__(value))
        if isinstance(value, float):
            return b"\x21" + double(float.__float__(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return length_field(b"\x3a", bytes(value))
        return text_value(utf8(_text(value)))

    def _list(self, items: list[object], depth: int) -> bytes:
        refusal = self._refusal("list", len(items), depth)
        if refusal:
            return refusal
        values = [length_field(b"\x0a", self.write(item, depth + 1)) for item in items]
        return length_field(b"\x2a", b"".join(values))

    def _dict(self, items: list[tuple[object, object]], depth: int) -> bytes:
        refusal = self._refusal("dict", len(items), depth)
        if refusal:
            return refusal
        pairs = [length_field(b"\x0a", self._pair(key, item, depth + 1)) for key, item in items]
        return length_field(b"\x32", b"".join(pairs))

    def _pair(self, key: object, value: object, depth: int) -> bytes:
        return key_field(key) + length_field(b"\x12", self.write(value, depth))

    def _refusal(self, kind: str, size: int, depth: int) -> bytes:
        """Take `size` values from what is left; return the text to write instead if that fails."""
        if depth >= MAX_DEPTH:
            return text_value(utf8(f"<{kind}: nested more than {MAX_DEPTH} deep>"))
        if size > self._values_left:
            return text_value(utf8(f"<{kind} of {size}: over {MAX_VALUES} values in an attribute>"))
        self._values_left -= size
        return b""
