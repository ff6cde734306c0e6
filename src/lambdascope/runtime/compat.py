"""What error trackers patch in AWS's Python client, so that their patches work in our loop too.

The Sentry SDK and libraries like it look for AWS's `bootstrap` module in the running program,
replace its `handle_event_request` to wrap the handler, and replace methods of its
`LambdaRuntimeClient` to flush before the answer is posted. `compat_names` makes such a module; the
loop goes through it once it is there (`Loop.compat`), which is when the function imports
`sentry_sdk` or asks for `awslambdaric`. Nothing here is loaded before.
"""

from __future__ import annotations

import sys

from lambdascope.runtime import compat_names
from lambdascope.runtime.faults import Fault, text_of
from lambdascope.runtime.loop import Loop
from lambdascope.runtime.serde import decode_event
from lambdascope.wire.runtime_api import InvocationError, InvocationResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from lambdascope.runtime.context import LambdaContext
    from lambdascope.runtime.handler import Handler
    from lambdascope.runtime.import_watch import ImportWatch
    from lambdascope.runtime.loop import Outcome
    from lambdascope.runtime.serde import Encoder
    from lambdascope.runtime.telemetry import InvokeTimes
    from lambdascope.wire.runtime_api import InitError

_BOOTSTRAP = "awslambdaric.bootstrap"
_CLIENT = "awslambdaric.lambda_runtime_client"
# CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR.
_LATER_FLAGS = 0x20 | 0x80 | 0x200
_MAX_WRAPPERS = 20


def compat_of(say: Callable[[str], None], *, ensure_ascii: bool) -> Compat:
    """The hook of this process's loop; made, and shown to who looks for it, by the first call."""
    if Loop.compat is None:
        Loop.compat = Compat(say, ensure_ascii=ensure_ascii)
    return Loop.compat


class Compat:
    """Runs the loop's steps through whatever was patched. A patch that fails costs no invocation.

    One for the process, like the modules that libraries patch; its methods may be called from
    several threads.
    """

    def __init__(self, say: Callable[[str], None], *, ensure_ascii: bool) -> None:
        self._say = say
        self._module: Any = compat_names.make_bootstrap(ensure_ascii=ensure_ascii)
        self._client: Any = self._module.LambdaRuntimeClient
        self._marshaller: object = self._client.marshaller
        # Where AWS's client has it in container images. `sys.modules["bootstrap"]`, which is looked
        # at first, stays free: a function may well have a module of that name.
        main = sys.modules.get("__main__")
        if main is not None and not hasattr(main, "bootstrap"):
            main.bootstrap = self._module  # type: ignore[attr-defined]  # made here

    @property
    def package(self) -> ModuleType:
        """The stand-in for `awslambdaric`, for functions that do not have it."""
        return compat_names.make_package(self._module)

    def watch(self, watch: ImportWatch) -> None:
        """The function has the real `awslambdaric`: its parts become the ones that are patched."""
        watch.when_imported(_CLIENT, self._adopt_client)
        watch.when_imported(_BOOTSTRAP, self._adopt_bootstrap)

    def _adopt_client(self, module: Any) -> None:
        own, real = self._client, module.LambdaRuntimeClient
        for name in compat_names.POSTS:
            setattr(real, name, getattr(own, name))
        if own.marshaller is self._marshaller:
            self._marshaller = real.marshaller
        else:
            real.marshaller = own.marshaller
        self._client = self._module.LambdaRuntimeClient = real

    def _adopt_bootstrap(self, module: Any) -> None:
        module.handle_event_request = self._module.handle_event_request
        main = sys.modules.get("__main__")
        if main is not None and getattr(main, "bootstrap", None) is self._module:
            main.bootstrap = module  # type: ignore[attr-defined]  # just seen
        self._module = module

    def call(
        self,
        handler: Handler,
        settle: Callable[[object, InvokeTimes], object],
        event: object,
        context: LambdaContext,
        times: InvokeTimes,
    ) -> object:
        """The handler's result, by way of `handle_event_request`. Raises what that raises.

        `settle` runs what a handler returned unfinished. For a handler that is plainly one of
        those it is done inside of the patches, which then see its failure.
        """

        def settled(event: object, context: LambdaContext) -> object:
            return settle(handler(event, context), times)

        # Trackers group failures by the stack, so that ours stays out of it where it can.
        wanted = settled if _runs_later(handler) else handler

        def act(wrapped: Handler = wanted) -> object:
            return settle(wrapped(event, context), times)

        turn = compat_names.Turn(act)
        invocation = times.invocation
        self._through(
            turn,
            self._module.handle_event_request,
            self._client_for(turn),
            wanted,
            invocation.request_id,
            invocation.body,
            invocation.content_type,
            invocation.client_context,
            invocation.cognito_identity,
            invocation.invoked_function_arn,
            invocation.deadline_ms,
            invocation.tenant_id,
            None,
            invocation.invocation_id,
        )
        return turn.result()

    def report(
        self,
        post: Callable[[Outcome, InvokeTimes], str],
        outcome: Outcome,
        times: InvokeTimes,
    ) -> str:
        """What `post(outcome, times)` says, by way of the client's two methods for outcomes.

        They may hand on another body; a streamed answer has gone by then, and is only told.
        """
        body = getattr(outcome, "body", b"")
        kind = getattr(outcome, "content_type", "")
        sent = body if kind == compat_names.CONTENT_TYPE_BYTES else body.decode("utf-8", "replace")

        def act(data: str | bytes = sent, content_type: str = kind) -> object:
            if isinstance(outcome, (InvocationResponse, InvocationError)):
                if data is not sent:
                    outcome.body = data if isinstance(data, bytes) else data.encode()
                outcome.content_type = content_type
            return post(outcome, times)

        turn = compat_names.Turn(act)
        client = self._client_for(turn)
        invocation = times.invocation
        ids = (invocation.request_id, invocation.invocation_id)
        if isinstance(outcome, InvocationError) or getattr(outcome, "error", None) is not None:
            cause = getattr(outcome, "xray_cause", "")
            self._through(turn, client.post_invocation_error, ids[0], sent, cause, ids[1])
        else:
            self._through(turn, client.post_invocation_result, ids[0], sent, kind, ids[1])
        return str(turn.result())

    def init_error(
        self, post: Callable[[InitError], str], message: InitError, error: BaseException
    ) -> str:
        """What `post(message)` says, by way of `post_init_error`.

        It runs while the exception is being handled, so that a tracker finds it with its stack.
        """
        import json

        turn = compat_names.Turn(lambda: post(message))
        try:
            raise _as_named(error)
        except BaseException:  # noqa: BLE001 - raised only to be there
            post_init_error = self._client_for(turn).post_init_error
            self._through(turn, post_init_error, json.loads(message.body))
        return str(turn.result())

    def decoder(self) -> Callable[[bytes, str], object]:
        """What makes an event of body and content type."""
        marshaller = self._client.marshaller
        if marshaller is self._marshaller:
            return decode_event
        return _Marshalling(marshaller).decode

    def encoder(self, own: Encoder) -> Encoder | _Marshalling:
        """What makes a body of a result: the loop's own, unless the function put in another."""
        marshaller = self._client.marshaller
        return own if marshaller is self._marshaller else _Marshalling(marshaller)

    def _client_for(self, turn: compat_names.Turn) -> Any:
        client = object.__new__(self._client)
        client.lambdascope_turn = turn
        return client

    def _through(
        self, turn: compat_names.Turn, patched: Callable[..., object], *args: object
    ) -> None:
        try:
            patched(*args)
        except Exception as fault:  # noqa: BLE001 - a library's patch, not the function
            name = getattr(patched, "__qualname__", "a patch")
            self._say(
                f"{name} of {getattr(patched, '__module__', '?')}, which was patched into the "
                f"runtime client, raised {type(fault).__name__}: {text_of(fault)}; going on without"
            )
        if not turn.done:
            turn.run()


class _Marshalling:
    """`LambdaRuntimeClient.marshaller` as the function replaced it."""

    def __init__(self, marshaller: Any) -> None:
        self._marshaller = marshaller

    def decode(self, body: bytes, content_type: str) -> object:
        """The event. Raises Fault for AWS's own exceptions, others as they are."""
        try:
            return self._marshaller.unmarshal_request(body, content_type)
        except Exception as error:  # noqa: BLE001 - the function's own class
            raise _as_fault(error) from None

    def encode(self, value: object) -> tuple[bytes, str]:
        """Body and content type. Raises Fault for AWS's own exceptions, others as they are."""
        try:
            data, content_type = self._marshaller.marshal_response(value)
        except Exception as error:  # noqa: BLE001 - the function's own class
            raise _as_fault(error) from None
        return data if isinstance(data, bytes) else data.encode(), content_type


def _runs_later(handler: object) -> bool:
    """Whether calling it does not run its body yet; seen also through decorators."""
    for _ in range(_MAX_WRAPPERS):
        code = getattr(handler, "__code__", None)
        if getattr(code, "co_flags", 0) & _LATER_FLAGS:
            return True
        handler = getattr(handler, "__wrapped__", None)
        if handler is None:
            break
    return False


def _as_fault(error: Exception) -> Exception:
    """AWS's FaultException as a Fault."""
    kind = getattr(error, "exception_type", None)
    if isinstance(error, Fault) or not isinstance(kind, str):
        return error
    return Fault(kind, str(getattr(error, "msg", error)), getattr(error, "trace", None))


def _as_named(error: BaseException) -> BaseException:
    """A Fault as an exception whose class has the name of AWS's error type; others as they are."""
    if not isinstance(error, Fault):
        return error
    named = type(error.error_type, (Exception,), {"__module__": "builtins"})(str(error))
    named.__cause__ = error.__cause__
    return named  # type: ignore[no-any-return]  # a class made by type()
