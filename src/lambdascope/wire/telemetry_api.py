"""The messages of the Lambda Telemetry API, version 2022-07-01, for both sides.

An extension encodes `Subscribe` and reads batches of records (`parse_batch`); a server of the API
reads the subscription (`parse_request`) and encodes batches (`encode_batch`). Source: AWS
Lambda developer guide, "Lambda Telemetry API reference" and "Event schema reference". What reads
JSON is imported inside the functions, because an extension subscribes before it needs it.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.heads import encode_request
from lambdascope.wire.message import Message, plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_IDENTIFIER = names.EXTENSION_IDENTIFIER.lower()
_JSON = ("Content-Type", names.CONTENT_TYPE_JSON)
# The body of the answer to a subscription that was taken.
SUBSCRIBED_BODY = b'"OK"'


class Subscribe(Message):
    """PUT telemetry over HTTP. `buffering` is items, bytes and ms, with limits in `names`."""

    __slots__ = (
        "identifier",
        "max_bytes",
        "max_items",
        "schema_version",
        "timeout_ms",
        "types",
        "uri",
    )

    def __init__(
        self,
        *,
        identifier: str,
        types: tuple[str, ...],
        uri: str,
        buffering: tuple[int, int, int],
        schema_version: str = names.TELEMETRY_SCHEMA_VERSION,
    ) -> None:
        self.identifier = identifier
        self.types = types
        self.uri = uri
        self.max_items, self.max_bytes, self.timeout_ms = buffering
        self.schema_version = schema_version

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The PUT. Raises LocalProtocolError for a text that JSON would have to escape."""
        listed = ",".join(plain_json(name) for name in self.types)
        body = (
            f'{{"schemaVersion":{plain_json(self.schema_version)},"types":[{listed}],'
            f'"buffering":{{"maxItems":{self.max_items},"maxBytes":{self.max_bytes},'
            f'"timeoutMs":{self.timeout_ms}}},'
            f'"destination":{{"protocol":"HTTP","URI":{plain_json(self.uri)}}}}}'
        )
        headers = (*common, _JSON, (names.EXTENSION_IDENTIFIER, self.identifier))
        return encode_request("PUT", names.TELEMETRY_PATH, headers, body.encode())


def parse_request(
    method: str, target: str, headers: Mapping[str, str], body: bytes
) -> Subscribe | None:
    """What a server received; None when path or method is not of this API.

    Raises RemoteProtocolError (status 400, AWS's ValidationError) naming the first field at fault.
    """
    if method != "PUT" or target.partition("?")[0] != names.TELEMETRY_PATH:
        return None
    import json

    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise RemoteProtocolError("body is not a JSON object")
    version = fields.get("schemaVersion")
    if version not in names.TELEMETRY_SCHEMA_VERSIONS:
        raise RemoteProtocolError(f"schemaVersion {version!r} is not one of those supported")
    types = fields.get("types")
    if not isinstance(types, list) or not types or not _all_known(types):
        raise RemoteProtocolError(f"types must list at least one of {names.TELEMETRY_TYPES}")
    buffering = fields.get("buffering") or {}
    if not isinstance(buffering, dict):
        raise RemoteProtocolError("buffering is not an object")
    return Subscribe(
        identifier=headers.get(_IDENTIFIER, ""),
        types=tuple(types),
        uri=_uri(fields.get("destination")),
        buffering=(
            _bounded(buffering, "maxItems", names.TELEMETRY_MAX_ITEMS),
            _bounded(buffering, "maxBytes", names.TELEMETRY_MAX_BYTES),
            _bounded(buffering, "timeoutMs", names.TELEMETRY_TIMEOUT_MS),
        ),
        schema_version=version,
    )


def _all_known(types: list[object]) -> bool:
    return all(name in names.TELEMETRY_TYPES for name in types)


def _bounded(fields: dict[str, object], key: str, bounds: tuple[int, int, int]) -> int:
    low, high, default = bounds
    value = fields.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RemoteProtocolError(f"buffering.{key} {value!r} is not between {low} and {high}")
    return value


def _uri(destination: object) -> str:
    if not isinstance(destination, dict):
        raise RemoteProtocolError("destination is missing")
    if destination.get("protocol") != "HTTP":
        raise RemoteProtocolError(f"destination.protocol {destination.get('protocol')!r}: use HTTP")
    uri = destination.get("URI")
    if not isinstance(uri, str) or not uri.startswith("http://"):
        raise RemoteProtocolError(f"destination.URI {uri!r} does not start with http://")
    return uri


def encode_batch(target: str, common: Iterable[tuple[str, str]], records: Iterable[bytes]) -> bytes:
    """The POST that delivers `records`, each a JSON text, to the path of the subscription's URI."""
    body = b"[" + b",".join(records) + b"]"
    return encode_request("POST", target, (*common, _JSON), body)


def parse_batch(body: bytes) -> list[dict[str, object]]:
    """A delivered batch as the list of its records, each with `time`, `type` and `record`.

    Items that are no objects are left out. Raises RemoteProtocolError when it is no JSON array.
    """
    from lambdascope.wire.json_text import loads

    try:
        items = loads(body)
    except RemoteProtocolError:
        items = None
    if not isinstance(items, list):
        raise RemoteProtocolError(f"telemetry batch is not a JSON array: {body[:60]!r}")
    return [item for item in items if isinstance(item, dict)]
