"""JSON text to Python values, without importing `json`.

`extensions_api` and `telemetry_api` read events and records with it, for the extension above all:
importing `json` would cost 7 ms of CPU in the middle of the function's init, because it imports
`re` (CPython 3.11; it is 15 times that at 128 MB). Its scanner, which is written in C, does
without. An interpreter that has none uses `json` after all. Knows nothing of what the texts mean.
"""

from __future__ import annotations

from lambdascope.wire.errors import RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def loads(data: bytes) -> object:
    """The value of a JSON text. Raises RemoteProtocolError when it is none."""
    try:
        text = data.decode().strip(" \t\r\n")
        value, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError, SystemError):
        # SystemError: CPython 3.11 cannot make the proper one while `json` is not loaded.
        raise RemoteProtocolError(f"not JSON: {data[:60]!r}") from None
    if end != len(text):
        raise RemoteProtocolError(f"more than one JSON value: {data[:60]!r}")
    return value


class _Rules:
    """What the scanner asks for; with these it makes plain Python values."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # NaN and the infinities, which Python's JSON knows
    memo = None


def _scanner() -> Callable[[str, int], tuple[object, int]]:
    try:
        from _json import make_scanner

        scan: Callable[[str, int], tuple[object, int]] = make_scanner(_Rules())  # type: ignore[arg-type]
        if scan('{"a":[1,null]}', 0) == ({"a": [1, None]}, 14):
            return scan
    except (ImportError, AttributeError, TypeError):
        pass  # not CPython, or another shape of the scanner than we know
    import json

    return json.JSONDecoder().raw_decode


_scan = _scanner()
