"""Other ways between JSON and objects: a marshaller of the user's, or orjson.

The interface is that of AWS's client (awslambdaric, LambdaRuntimeClient.marshaller): an object with
`unmarshal_request(body, content_type)` and `marshal_response(result)`. Put one into
`lambdascope.runtime.serde.marshaller` and it reads all events and writes all results from then on.
Loaded only when that is done, or when LAMBDASCOPE_JSON asks for orjson.
"""

from __future__ import annotations

from lambdascope.runtime import serde
from lambdascope.runtime.faults import Fault, text_of
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Protocol

    class Marshaller(Protocol):
        """What AWS's client accepts as a marshaller."""

        def unmarshal_request(self, request: bytes, content_type: str) -> object:
            """The handler's first argument."""

        def marshal_response(self, response: object) -> tuple[bytes | str, str]:
            """Body and content type."""


class JsonMarshaller:
    """The default rules behind AWS's interface: something to inherit from, or to fall back to.

    Both methods raise Fault, with AWS's types and texts.
    """

    def __init__(self, encoder: serde.Encoder | None = None) -> None:
        self._encoder = encoder or serde.Encoder(ensure_ascii=True)

    def unmarshal_request(
        self, request: bytes, content_type: str = names.CONTENT_TYPE_JSON
    ) -> object:
        """The event: JSON where the content type is application/json, else the bytes."""
        return serde.decode_json(request, content_type)

    def marshal_response(self, response: object) -> tuple[bytes, str]:
        """Body and content type."""
        return self._encoder.encode_json(response)


class OrjsonMarshaller(JsonMarshaller):
    """orjson with its own rules; what it refuses is read and written by the default rules.

    Its rules where they differ: no spaces, no escapes of non-ASCII, NaN and infinities are null,
    integers beyond 64 bits in events become floats, subclasses of dict and list are plain.
    """

    def __init__(self, orjson: ModuleType, encoder: serde.Encoder) -> None:
        super().__init__(encoder)
        self._dumps: Callable[..., bytes] = orjson.dumps
        self._loads: Callable[[bytes], object] = orjson.loads
        # Since orjson 3.9; without it, results with Decimal are written by the default rules.
        self._raw: Callable[[str], object] | None = getattr(orjson, "Fragment", None)

    def unmarshal_request(
        self, request: bytes, content_type: str = names.CONTENT_TYPE_JSON
    ) -> object:
        """The event."""
        if content_type != names.CONTENT_TYPE_JSON:
            return request
        try:
            return self._loads(request)
        except ValueError:
            return super().unmarshal_request(request, content_type)

    def marshal_response(self, response: object) -> tuple[bytes, str]:
        """Body and content type."""
        if isinstance(response, bytes):
            return super().marshal_response(response)
        try:
            return self._dumps(response, self._default), names.CONTENT_TYPE_JSON
        except Exception:  # noqa: BLE001 - the default rules take it, or say what is wrong with it
            return super().marshal_response(response)

    def _default(self, value: object) -> object:
        if isinstance(value, bytes):
            return value.decode()
        if serde.is_decimal(value):
            if not value.is_finite():  # type: ignore[attr-defined]  # a Decimal
                return None
            if self._raw is not None:
                return self._raw(str(value))
            raise TypeError("no raw numbers in this orjson")
        fields = serde.as_dict(value)
        return serde.replaced(value) if fields is None else fields


def unmarshal(marshaller: Marshaller, body: bytes, content_type: str) -> object:
    """The event as a marshaller reads it. Raises Fault where AWS's FaultException was raised."""
    try:
        return marshaller.unmarshal_request(body, content_type)
    except Exception as error:  # noqa: BLE001 - passed on, unless it is one of AWS's
        raise _as_fault(error) from error.__cause__


def marshal(marshaller: Marshaller, result: object) -> tuple[bytes, str]:
    """The result as a marshaller writes it. Raises as `unmarshal` does."""
    try:
        data, content_type = marshaller.marshal_response(result)
        return (data.encode() if isinstance(data, str) else data), content_type
    except Exception as error:  # noqa: BLE001 - passed on, unless it is one of AWS's
        raise _as_fault(error) from error.__cause__


def _as_fault(error: Exception) -> Exception:
    """AWS's FaultException as a Fault; a marshaller may build on the one in awslambdaric."""
    error_type = getattr(error, "exception_type", None)
    if isinstance(error_type, str) and hasattr(error, "msg"):
        return Fault(error_type, text_of(error.msg))
    return error


def choose(library: str, encoder: serde.Encoder, say: Callable[[str], None]) -> Marshaller | None:
    """The marshaller for a value of LAMBDASCOPE_JSON; None, and a line said, without one."""
    if library != "orjson":
        say(f"LAMBDASCOPE_JSON={library[:40]!r} is not known: use orjson, or leave it out")
        return None
    try:
        import orjson
    except Exception as error:  # noqa: BLE001 - a broken package must not cost the environment
        say(
            f"LAMBDASCOPE_JSON=orjson: it cannot be imported ({text_of(error)[:200]}), so that the "
            "standard library is used; add orjson to the function's package or to a layer"
        )
        return None
    return OrjsonMarshaller(orjson, encoder)
