"""Cuts one OTLP request in two, on the borders of its resources, scopes or items.

The extension needs it when a collector finds a request too large. Protobuf is only walked at its
borders and stays as it is between them; what belongs to both halves (the resource, the scope) is
copied. The three signals have the same shape, so nothing here knows which one it is. Source:
opentelemetry-proto, trace_service.proto, metrics_service.proto, logs_service.proto.
"""

from __future__ import annotations

from lambdascope.otlp.protobuf import length_field
from lambdascope.otlp.walk import WIRE_LENGTH, iter_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The repeated field on the way to an item: resource_spans of a request, scope_spans of a resource,
# spans of a scope, and the same for metrics and log records.
_REPEATED = (1, 2, 2)
_JSON_REPEATED = ("resource", "scope", "")
_JSON_ITEMS = ("spans", "metrics", "logRecords")


def halves(body: bytes) -> tuple[bytes, bytes] | None:
    """Two protobuf requests that together say the same; None for a single item.

    The halves are about equal in bytes. Raises ValueError if the bytes are not a request.
    """
    return _halves(body, 0)


def _halves(message: bytes, depth: int) -> tuple[bytes, bytes] | None:
    entries: list[tuple[int, int, int]] = []
    rest = b""
    begin = 0
    for number, wire_type, start, end in iter_fields(message):
        if (number, wire_type) == (_REPEATED[depth], WIRE_LENGTH):
            entries.append((begin, start, end))
        else:
            rest += message[begin:end]
        begin = end
    if not entries:
        return None
    if len(entries) > 1:
        border = _middle([end - begin for begin, _, end in entries])
        first, second = (
            rest + b"".join([message[begin:end] for begin, _, end in part])
            for part in (entries[:border], entries[border:])
        )
        return first, second
    if depth + 1 == len(_REPEATED):
        return None
    _, start, end = entries[0]
    inner = _halves(message[start:end], depth + 1)
    if inner is None:
        return None
    tag = bytes((_REPEATED[depth] << 3 | WIRE_LENGTH,))
    return rest + length_field(tag, inner[0]), rest + length_field(tag, inner[1])


def json_halves(body: bytes) -> tuple[bytes, bytes] | None:
    """The same for a JSON request. Raises ValueError if the bytes are not JSON."""
    import json

    inner = _json_halves(json.loads(body), 0)
    if inner is None:
        return None
    first, second = (json.dumps(one, separators=(",", ":")).encode() for one in inner)
    return first, second


def _json_halves(message: Any, depth: int) -> tuple[Any, Any] | None:
    if not isinstance(message, dict) or depth == len(_JSON_REPEATED):
        return None
    for key, entries in message.items():
        is_repeated = key in _JSON_ITEMS if depth == 2 else key.startswith(_JSON_REPEATED[depth])
        if not is_repeated or not isinstance(entries, list):
            continue
        if len(entries) > 1:
            middle = len(entries) // 2
            return {**message, key: entries[:middle]}, {**message, key: entries[middle:]}
        inner = _json_halves(entries[0], depth + 1) if entries else None
        if inner is not None:
            return {**message, key: [inner[0]]}, {**message, key: [inner[1]]}
    return None


def _middle(sizes: list[int]) -> int:
    """How many of the first come nearest to half of all, at least one and not all."""
    half = sum(sizes) / 2
    count = size = 0
    while count < len(sizes) - 1 and (not count or size + sizes[count] <= half):
        size += sizes[count]
        count += 1
    return count
