"""Events in, results out: JSON exactly as AWS's Python client reads and writes it.

Its rules (awslambdaric, lambda_runtime_marshaller.py, which uses simplejson): the event is decoded
only when its type is application/json; bytes as a result pass as they are; Decimal is written as
its exact number, bytes inside a result as text, named tuples as objects, NaN as NaN. The standard
library does the work, because importing simplejson is a part of every cold start.
"""

from __future__ import annotations

import sys
from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

from lambdascope.runtime.faults import Fault, text_of
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CONTENT_TYPE_BYTES = "application/unknown"
_ATOMS = frozenset((str, int, float, bool, type(None)))


def _refuse_constant(name: str) -> object:
    # As AWS's client does; the standard library would accept it.
    raise ValueError(f"{name} is not JSON")


class _ScannerSettings:
    """What json.JSONDecoder() hands to the C scanner."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - read by the C scanner, never written


# The C parts that `json` itself is made of. Importing `json` would import `re` and `enum`: 5 ms of
# every cold start, also for functions that never use them.
_scan: Callable[[str, int], tuple[object, int]] = make_scanner(_ScannerSettings)  # type: ignore[arg-type]  # any object with these fields


def decode_event(body: bytes, content_type: str) -> object:
    """The handler's first argument. Raises Fault (Runtime.UnmarshalError) with the position."""
    if content_type != names.CONTENT_TYPE_JSON:
        return body
    try:
        text = body.decode()
        try:
            value, end = _scan(text, 0)
            if end == len(text):
                return value
        except StopIteration:
            pass  # white space in front, or no JSON at all: the full decoder tells which
        import json

        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Fault(names.FAULT_UNMARSHAL, f"Unable to unmarshal input: {error}") from None


class Encoder:
    """Results to bytes. One per process; `encode` may be called from several threads."""

    __slots__ = ("_ensure_ascii", "_string")

    def __init__(self, *, ensure_ascii: bool) -> None:
        self._ensure_ascii = ensure_ascii
        self._string: Callable[[str], str] = (
            encode_basestring_ascii if ensure_ascii else encode_basestring
        )

    def encode(self, value: object) -> tuple[bytes, str]:
        """Body and content type. Raises Fault (Runtime.MarshalError)."""
        if isinstance(value, bytes):
            return value, _CONTENT_TYPE_BYTES
        try:
            return self._text(value).encode(), names.CONTENT_TYPE_JSON
        except Exception as error:  # noqa: BLE001 - user classes may raise anything when read
            message = f"Unable to marshal response: {text_of(error)}"
            raise Fault(names.FAULT_MARSHAL, message) from None

    def _text(self, value: object) -> str:
        if holds_namedtuple(value):
            value = _plain(value, 0)
        numbers = _ExactNumbers()
        try:
            text = self._dump(value, numbers.default)
        except TypeError:
            # Keys that are bytes are text to AWS's client; anything else fails again, and says why.
            plain = _plain(value, 0)
            text = self._dump(plain, numbers.default)
        return numbers.put_into(text)

    def _dump(self, value: object, default: Callable[[object], object]) -> str:
        if isinstance(value, str):
            return self._string(value)
        # What json.JSONEncoder().encode does, without building an encoder object for each result.
        encode = make_encoder({}, default, self._string, None, ": ", ", ", False, False, True)
        return "".join(encode(value, 0))


class _ExactNumbers:
    """Decimals of one result: a placeholder while encoding, the exact text afterwards."""

    __slots__ = ("_texts", "_token")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._token = ""

    def default(self, value: object) -> object:
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(value, decimal.Decimal):
            if value.is_nan():
                return float("nan")
            if not self._token:
                import os

                # Random, so that no string of the result can be taken for it.
                self._token = os.urandom(12).hex()
            self._texts.append(str(value))
            return f"{self._token}:{len(self._texts) - 1}:"
        if isinstance(value, bytes):
            return value.decode()
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    def put_into(self, text: str) -> str:
        if not self._texts:
            return text
        first, *rest = text.split(f'"{self._token}:')
        pieces = [first]
        for part in rest:
            index, _, tail = part.partition(':"')
            pieces.append(self._texts[int(index)] + tail)
        return "".join(pieces)


def holds_namedtuple(value: object) -> bool:
    """Whether a named tuple is anywhere in it (the standard encoder would make it a list)."""
    if type(value) in _ATOMS:
        return False
    stack = [value]
    seen = 0
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            children: Iterable[object] = item.values()
        elif isinstance(item, (list, tuple)):
            if type(item) is not tuple and hasattr(item, "_asdict"):
                return True
            children = item
        else:
            continue
        stack += [child for child in children if type(child) not in _ATOMS]
        seen += 1
        if seen > 1_000_000:
            return False  # a cycle: the encoder will say so
    return False


def _plain(value: object, depth: int) -> object:
    """A copy with named tuples as dicts and keys that are bytes as text."""
    if depth > 900:
        raise ValueError("Circular reference detected")
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {_plain_key(k): _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return value


def _plain_key(key: object) -> object:
    return key.decode() if isinstance(key, bytes) else key
