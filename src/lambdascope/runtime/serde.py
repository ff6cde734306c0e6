"""Events in, results out: JSON exactly as AWS's Python client reads and writes it.

Its rules (awslambdaric, lambda_runtime_marshaller.py, which uses simplejson): the event is decoded
only when its type is application/json; bytes as a result pass as they are; Decimal is written as
its exact number, bytes inside a result as text, named tuples as objects, NaN as NaN. The standard
library does the work, because importing simplejson is a part of every cold start. Some types that
AWS's client refuses are accepted (see `replaced`). `marshaller` is where users put rules of their
own.
"""

from __future__ import annotations

import os
import sys
from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

from lambdascope.runtime.faults import Fault, text_of
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lambdascope.runtime.marshalling import Marshaller

_JSON = names.CONTENT_TYPE_JSON
_CONTENT_TYPE_BYTES = "application/unknown"
_ATOMS = frozenset((str, int, float, bool, type(None)))
_WHITE_SPACE = " \t\n\r"
_BYTE_ORDER_MARK = "\ufeff"
# More containers than this, or a cycle: the careful way, which ends either with an answer.
_MAX_SCANNED = 1_000_000
_MAX_DEPTH = 400


# The override point: an object with the methods of awslambdaric's LambdaRuntimeClient.marshaller,
# unmarshal_request(body, content_type) and marshal_response(result). It may be set at any time.
marshaller: Marshaller | None = None


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


# The C parts that `json` itself is made of. Importing `json` would import `re` and `enum`: 5 ms of
# every cold start, also for functions that never use them.
_scan: Callable[[str, int], tuple[object, int]] = make_scanner(_ScannerSettings)  # type: ignore[arg-type]  # any object with these fields


def decode_event(body: bytes, content_type: str) -> object:
    """The handler's first argument. Raises Fault (Runtime.UnmarshalError) with the position."""
    if marshaller is not None:
        from lambdascope.runtime.marshalling import unmarshal

        return unmarshal(marshaller, body, content_type)
    return decode_json(body, content_type)


def decode_json(body: bytes, content_type: str) -> object:
    """The event by AWS's rules, whatever the marshaller. Raises Fault."""
    if content_type != _JSON:
        return body
    try:
        text = body.decode()
        bare = text.strip(_WHITE_SPACE)
        try:
            value, end = _scan(bare, 0)
            if end == len(bare):
                return value
        except (ValueError, StopIteration, SystemError):
            # Bad JSON, or a byte order mark before it: the full decoder tells which. SystemError,
            # because the C scanner cannot make its exception while `json` is not loaded.
            pass
        import json

        return json.loads(text.removeprefix(_BYTE_ORDER_MARK), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Fault(names.FAULT_UNMARSHAL, f"Unable to unmarshal input: {error}") from None


class Encoder:
    """Results to bytes. One per process; `encode` may be called from several threads."""

    __slots__ = ("_ensure_ascii", "_flat", "_string")

    def __init__(self, *, ensure_ascii: bool) -> None:
        self._ensure_ascii = ensure_ascii
        self._string: Callable[[str], str] = (
            encode_basestring_ascii if ensure_ascii else encode_basestring
        )
        # For a dict of plain values, which most results are: nothing in it can hold itself.
        self._flat: Callable[[object, int], Iterable[str]] = make_encoder(
            None, _no_default, self._string, None, ": ", ", ", False, False, True
        )
        library = os.environ.get("LAMBDASCOPE_JSON", "").strip().lower()
        if library and marshaller is None:
            _use(library, self)

    def encode(self, value: object) -> tuple[bytes, str]:
        """Body and content type. Raises Fault (Runtime.MarshalError)."""
        if marshaller is not None:
            from lambdascope.runtime.marshalling import marshal

            return marshal(marshaller, value)
        return self.encode_json(value)

    def encode_json(self, value: object) -> tuple[bytes, str]:
        """The result by AWS's rules and `replaced`, whatever the marshaller. Raises Fault."""
        if isinstance(value, bytes):
            return value, _CONTENT_TYPE_BYTES
        try:
            if type(value) is dict and _ATOMS.issuperset(map(type, value.values())):
                try:
                    return "".join(self._flat(value, 0)).encode(), _JSON
                except TypeError:
                    pass  # its keys are not
            return self._text(value).encode(), _JSON
        except Exception as error:  # noqa: BLE001 - user classes may raise anything when read
            message = f"Unable to marshal response: {text_of(error)}{_place(value, error)}"
            raise Fault(names.FAULT_MARSHAL, message) from None

    def _text(self, value: object) -> str:
        if holds_asdict(value):
            value = _plain(value, 0)
        numbers = _ExactNumbers()
        try:
            text = self._dump(value, numbers.default)
        except TypeError:
            # Keys that are bytes are text to AWS's client; anything else fails again, and says why.
            text = self._dump(_plain(value, 0), numbers.default)
        return numbers.put_into(text)

    def _dump(self, value: object, default: Callable[[object], object]) -> str:
        if isinstance(value, str):
            return self._string(value)
        # What json.JSONEncoder().encode does, without building an encoder object for each result.
        encode = make_encoder({}, default, self._string, None, ": ", ", ", False, False, True)
        return "".join(encode(value, 0))


def _no_default(value: object) -> object:
    raise TypeError(type(value).__name__)


class _ExactNumbers:
    """Decimals of one result: a placeholder while encoding, the exact text afterwards."""

    # On the class, because there is one of these for each result, and seldom a Decimal in it.
    _texts: list[str] | None = None
    _token = ""

    def default(self, value: object) -> object:
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(value, decimal.Decimal):
            if value.is_nan():
                return float("nan")
            if self._texts is None:
                self._texts = []
                # Random, so that no string of the result can be taken for it.
                self._token = os.urandom(12).hex()
            self._texts.append(str(value))
            return f"{self._token}:{len(self._texts) - 1}:"
        if isinstance(value, bytes):
            return value.decode()
        fields = as_dict(value)
        return _plain(replaced(value) if fields is None else fields, 0)

    def put_into(self, text: str) -> str:
        if not self._texts:
            return text
        first, *rest = text.split(f'"{self._token}:')
        pieces = [first]
        for part in rest:
            index, _, tail = part.partition(':"')
            pieces.append(self._texts[int(index)] + tail)
        return "".join(pieces)


def holds_asdict(value: object) -> bool:
    """Whether a container in it wants to be an object, as named tuples do.

    The standard encoder would make it a list. True also where there is too much to look at.
    """
    if type(value) in _ATOMS:
        return False
    found = [value]
    for item in found:  # which grows meanwhile
        kind = type(item)
        if kind is dict:
            children: Iterable[object] = item.values()  # type: ignore[attr-defined]  # a dict
        elif kind is list or kind is tuple:
            children = item  # type: ignore[assignment]  # a list or a tuple
        elif isinstance(item, (dict, list, tuple)):
            if callable(getattr(item, "_asdict", None)):
                return True
            children = item.values() if isinstance(item, dict) else item
        else:
            continue
        found += [child for child in children if type(child) not in _ATOMS]
        if len(found) > _MAX_SCANNED:
            return True
    return False


def replaced(value: object) -> object:
    """What is written in the place of a value that AWS's client refuses.

    Dates and times are text in ISO 8601, UUIDs and paths are text, an enum is its value, an
    instance of a dataclass an object of its fields. Raises TypeError, in AWS's words, for the rest.
    """
    if _is_a(value, "datetime", "date") or _is_a(value, "datetime", "time"):
        return value.isoformat()  # type: ignore[attr-defined]  # they have it
    if _is_a(value, "uuid", "UUID") or _is_a(value, "pathlib", "PurePath"):
        return str(value)
    if _is_a(value, "enum", "Enum"):
        return value.value  # type: ignore[attr-defined]  # it is an enum
    if hasattr(type(value), "__dataclass_fields__"):
        from dataclasses import fields

        return {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]  # as above
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def is_decimal(value: object) -> bool:
    """Whether it is a Decimal."""
    return _is_a(value, "decimal", "Decimal")


def is_atom(value: object) -> bool:
    """Whether it is text, a number, a truth value or None, and of no subclass."""
    return type(value) in _ATOMS


def _is_a(value: object, module: str, name: str) -> bool:
    # Who has such a value has imported its module, which costs too much to do for all.
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _place(value: object, error: Exception) -> str:
    """Where in the result the error is, as in " (at ['items'][0])"; "" where that is not known."""
    try:
        from lambdascope.runtime.result_path import path_of

        path = path_of(value, error)
    except Exception:  # noqa: BLE001 - no stack or no memory left: the error counts
        return ""
    return f" (at {path})" if path else ""


def _use(library: str, encoder: Encoder) -> None:
    global marshaller
    from lambdascope.runtime.logs import say
    from lambdascope.runtime.marshalling import choose

    marshaller = choose(library, encoder, say)


def as_dict(value: object) -> dict[object, object] | None:
    """What the value's `_asdict` gives, None where it has none. Raises TypeError for no dict."""
    method = getattr(value, "_asdict", None)
    if not callable(method):
        return None
    fields = method()
    if not isinstance(fields, dict):
        raise TypeError(f"_asdict() must return a dict, not {type(fields).__name__}")
    return fields


def _plain(value: object, depth: int) -> object:
    """A copy with named tuples as dicts and keys that are bytes as text."""
    if depth > _MAX_DEPTH:
        raise ValueError("Circular reference detected")
    if isinstance(value, (dict, list, tuple)):
        fields = as_dict(value)
        if fields is not None:
            value = fields
    if isinstance(value, dict):
        return {_plain_key(k): _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return value


def _plain_key(key: object) -> object:
    if isinstance(key, bytes):
        return key.decode()
    check_key(key)
    return key


def check_key(key: object) -> None:
    """Raises TypeError, in AWS's words, for what cannot be a key of an object."""
    if key is not None and not isinstance(key, (str, int, float)):
        kind = type(key).__name__
        raise TypeError(f"keys must be str, int, float, bool or None, not {kind}")
