"""The context object that a handler gets, and the invocation that is current.

Attribute names, types and texts are those of AWS's Python client (awslambdaric), because loggers,
tracers and tests read them, also through `vars(context)`: hence ordinary attributes and no slots.
The remaining time comes from a monotonic deadline, so that a step of the wall clock cannot change
it.
"""

from __future__ import annotations

from _contextvars import ContextVar
from time import monotonic_ns
from types import MappingProxyType

from lambdascope.runtime.deadline_context import DeadlineMethods
from lambdascope.runtime.faults import Fault
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _contextvars import Token
    from collections.abc import Callable, Mapping, Sequence

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.live_results import LiveResults
    from lambdascope.runtime.streaming import ResponseStream
    from lambdascope.runtime.telemetry import InvokeTimes
    from lambdascope.wire.runtime_api import Invocation


class CurrentInvocation:
    """The invocation whose code is running: that of the context, else the latest of the process.

    Threads that the function starts do not inherit the context; their log records belong to the
    latest invocation, as with AWS's client. Before the first invocation there is none.
    """

    __slots__ = ("_latest", "_variable")

    def __init__(self) -> None:
        self._variable: ContextVar[InvokeTimes] = ContextVar("lambdascope_invocation")
        self._latest: InvokeTimes | None = None

    def get(self) -> Invocation | None:
        """The invocation, from any thread."""
        times = self._variable.get(self._latest)
        return None if times is None else times.invocation

    def times(self) -> InvokeTimes | None:
        """What is noted of it: its trace, above all."""
        return self._variable.get(self._latest)

    def here(self) -> InvokeTimes | None:
        """The same where it runs in this very context: not in a thread that has none."""
        return self._variable.get(None)

    def set(self, times: InvokeTimes) -> Token[InvokeTimes]:
        """An invocation begins in this context; give what it returns to `reset`."""
        self._latest = times
        return self._variable.set(times)

    def reset(self, token: Token[InvokeTimes]) -> None:
        """The invocation is over in this context."""
        self._variable.reset(token)


# Logs and outbound headers are to read this, not a copy.
current_invocation = CurrentInvocation()

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class _Described:
    """Text form of AWS's classes: Name([field=value,...]), in the order of AWS's slots."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        fields = ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__)
        return f"{type(self).__name__}([{fields}])"


class CognitoIdentity(_Described):
    """Always there; both fields are None without a Cognito identity."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, fields: dict[str, object]) -> None:
        self.cognito_identity_id = fields.get("cognitoIdentityId")
        self.cognito_identity_pool_id = fields.get("cognitoIdentityPoolId")


class Client(_Described):
    """The mobile client of a client context; missing fields are None."""

    __slots__ = (  # noqa: RUF023 - AWS's order is the order of the text form
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )

    def __init__(self, fields: dict[str, object]) -> None:
        for name in self.__slots__:
            setattr(self, name, fields.get(name))


class ClientContext(_Described):
    """What the caller sent as client context; missing fields are None."""

    __slots__ = ("custom", "env", "client")  # noqa: RUF023 - as above

    def __init__(self, fields: dict[str, object]) -> None:
        self.custom = fields.get("custom")
        self.env = fields.get("env")
        client = fields.get("client")
        self.client = Client(client) if isinstance(client, dict) else client


class Offers:
    """What the runtime does for the invocation that is running; a copy is of the same one."""

    __slots__ = ("live", "times")

    def __init__(self, times: InvokeTimes, live: Callable[[], LiveResults]) -> None:
        self.times = times
        self.live = live

    def __deepcopy__(self, _memo: object) -> Offers:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """In another process there is no such invocation."""
        return type(None), ()


class _Headers:
    """`context.headers`: not among vars(context), and a function may put its own in its place."""

    def __get__(self, context: LambdaContext | None, _owner: type) -> Mapping[str, str]:
        return MappingProxyType({} if context is None else context._headers)


class LambdaContext(DeadlineMethods):
    """The second argument of a handler. Source of the names: awslambdaric, lambda_context.py.

    `deadline_ns` is the deadline on the monotonic clock; `write` puts text into the log as it is.
    `headers` are those that the platform sent with the event, read-only, names in lower case: also
    those that are newer than this version.
    """

    headers = _Headers()

    def __init__(
        self,
        invocation: Invocation,
        config: RuntimeConfig,
        *,
        deadline_ns: int,
        write: Callable[[str], None],
        offers: Offers | None = None,
    ) -> None:
        self.aws_request_id = invocation.request_id
        self.log_group_name = config.log_group_name
        self.log_stream_name = config.log_stream_name
        self.function_name = config.function_name
        self.memory_limit_in_mb = config.memory_limit_in_mb
        self.function_version = config.function_version
        self.invoked_function_arn = invocation.invoked_function_arn
        self.tenant_id = invocation.tenant_id
        self.client_context: ClientContext | None = None
        self._w3c: dict[str, str] = {}
        if invocation.client_context is not None:
            self._read_client_context(invocation.client_context)
        identity = None
        if invocation.cognito_identity is not None:
            identity = _json_header(invocation.cognito_identity, "Cognito Identity")
        self.identity = CognitoIdentity(identity or {})
        self._headers = invocation.headers
        self._epoch_deadline_time_in_ms = invocation.deadline_ms
        self._deadline_ns = deadline_ns
        self._write = write
        self._offers = offers

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends this invocation; 0 after that."""
        left_ms = (self._deadline_ns - monotonic_ns()) // 1_000_000
        return left_ms if left_ms > 0 else 0

    def w3c(self) -> dict[str, str]:
        """W3C trace fields that the caller sent in the client context (may be empty)."""
        return dict(self._w3c)

    def log(self, msg: object) -> None:
        """Write text to the function's log as it is, without a line end."""
        self._write(str(msg))

    def stream(
        self,
        *,
        content_type: str = "",
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[str] = (),
    ) -> ResponseStream:
        """The answer as a stream: `with context.stream() as out: out.write(b"...")`.

        With a status, headers or cookies it is an HTTP answer for a function URL or API Gateway.
        What the handler returns is then ignored. Raises RuntimeError for a second stream.
        """
        from lambdascope.runtime.streaming import HttpPrelude

        prelude = None
        if status_code is not None or headers or cookies:
            prelude = HttpPrelude(200 if status_code is None else status_code, headers, cookies)
        offers = self._offered("a response stream")
        return offers.live().open_stream(offers.times, content_type=content_type, prelude=prelude)

    def run_after_response(self, work: Callable[..., object], *args: object) -> None:
        """Call `work(*args)` once the caller has its answer, within what is left of the deadline.

        An `async def` function is awaited. The time is billed. A failure is logged and changes
        nothing about the invocation.
        """
        offers = self._offered("work after the response")
        offers.live()
        if offers.times.after is None:
            offers.times.after = []
        offers.times.after.append((work, args))

    def _offered(self, what: str) -> Offers:
        if self._offers is None:
            raise RuntimeError(f"{what} needs a running invocation")
        return self._offers

    def __repr__(self) -> str:
        shown = (
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )
        return f"LambdaContext([{','.join(f'{name}={getattr(self, name)}' for name in shown)}])"

    def _read_client_context(self, text: str) -> None:
        fields = _json_header(text, "Client Context")
        if fields is None:
            return
        w3c = fields.pop("w3c", None)
        if isinstance(w3c, dict):
            pairs = ((name, w3c.get(name)) for name in _W3C_FIELDS)
            self._w3c = {name: value for name, value in pairs if isinstance(value, str)}
        self.client_context = ClientContext(fields)


def _json_header(text: str, what: str) -> dict[str, object] | None:
    """The header's object, or None for null. Raises Fault for anything else."""
    import json

    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Fault(names.FAULT_CONTEXT, f"Unable to parse {what} JSON: {error}") from None
    if fields is not None and not isinstance(fields, dict):
        raise Fault(names.FAULT_CONTEXT, f"Unable to parse {what} JSON: not an object")
    return fields
