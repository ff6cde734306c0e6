"""Stand-ins for the modules of AWS's Python client that libraries look names up in.

Only the names, and what a patch of them needs: the functions below do nothing but let the loop
continue with what it is about to do (`Turn`). `compat` makes one set for the process. Source of
the names and of the order of the arguments: awslambdaric 4.2.2.
"""

from __future__ import annotations

import sys
from types import ModuleType

from lambdascope.runtime import context
from lambdascope.runtime.faults import Fault
from lambdascope.runtime.handler import load_handler
from lambdascope.runtime.serde import Encoder, decode_json
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PACKAGE = "awslambdaric"
POSTS = ("post_init_error", "post_invocation_result", "post_invocation_error")
CONTENT_TYPE_BYTES = "application/unknown"
_VERSION = "4.2.2"


class Turn:
    """One step of the loop: what it is about to do, and what came of it.

    A failure is kept for `result`, so that no patch on the way sees, hides or changes it.
    """

    __slots__ = ("_act", "_error", "_value", "done")

    def __init__(self, act: Callable[..., object]) -> None:
        self._act = act
        self._error: Exception | None = None
        self._value: object = None
        self.done = False

    def run(self, *args: object) -> None:
        """Do it; a second time does nothing. Only Exceptions are kept: others end the process."""
        if self.done:
            return
        self.done = True
        try:
            self._value = self._act(*args)
        except Exception as error:  # noqa: BLE001 - raised again by result
            self._error = error

    def result(self) -> object:
        """The value. Raises what the step raised."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


class FaultException(Fault):
    """AWS's name for a failure that has an error type of the runtime's."""

    MARSHAL_ERROR = names.FAULT_MARSHAL
    UNMARSHAL_ERROR = names.FAULT_UNMARSHAL
    USER_CODE_SYNTAX_ERROR = names.FAULT_SYNTAX
    HANDLER_NOT_FOUND = names.FAULT_HANDLER_NOT_FOUND
    IMPORT_MODULE_ERROR = names.FAULT_IMPORT_MODULE
    BUILT_IN_MODULE_CONFLICT = names.FAULT_BUILTIN_CONFLICT
    MALFORMED_HANDLER_NAME = names.FAULT_MALFORMED_HANDLER
    LAMBDA_CONTEXT_UNMARSHAL_ERROR = names.FAULT_CONTEXT

    def __init__(self, exception_type: str, msg: str, trace: list[str] | None = None) -> None:
        super().__init__(exception_type, msg, trace)
        self.exception_type = exception_type
        self.msg = msg


def handle_event_request(
    lambda_runtime_client: Any, request_handler: Callable[..., object], *_: object
) -> None:
    """Run `request_handler`, which a patch may have wrapped, for the invocation under way.

    The further arguments are AWS's, for patches that read them; other values are not taken.
    """
    lambda_runtime_client.lambdascope_turn.run(request_handler)


def _post_invocation_result(
    self: Any,
    invoke_id: str,
    result_data: str | bytes,
    content_type: str = names.CONTENT_TYPE_JSON,
    invocation_id: str | None = None,
) -> None:
    """Post the result of the invocation under way."""
    self.lambdascope_turn.run(result_data, content_type)


def _post_invocation_error(
    self: Any,
    invoke_id: str,
    error_response_data: str,
    xray_fault: str,
    invocation_id: str | None = None,
) -> None:
    """Post the error of the invocation under way."""
    self.lambdascope_turn.run(error_response_data)


def _post_init_error(
    self: Any, error_response_data: dict[str, object], error_type_override: str | None = None
) -> None:
    """Post the failure of the init under way."""
    self.lambdascope_turn.run()


def _marshaller_class(*, ensure_ascii: bool) -> type:
    """AWS's class with our way of reading and writing JSON; functions derive from it."""

    class LambdaMarshaller:
        """Events in, results out. An instance of a class with these methods may replace it."""

        def unmarshal_request(
            self, request: bytes, content_type: str = names.CONTENT_TYPE_JSON
        ) -> object:
            """The event. Raises a Fault."""
            return decode_json(request, content_type)

        def marshal_response(self, response: object) -> tuple[str | bytes, str]:
            """The body, as text when it is JSON, and its content type. Raises a Fault."""
            body, content_type = Encoder(ensure_ascii=ensure_ascii).encode_json(response)
            return (body if content_type == CONTENT_TYPE_BYTES else body.decode()), content_type

    LambdaMarshaller.__module__ = f"{PACKAGE}.lambda_runtime_marshaller"
    LambdaMarshaller.__qualname__ = "LambdaMarshaller"
    return LambdaMarshaller


def make_bootstrap(*, ensure_ascii: bool) -> ModuleType:
    """A new `awslambdaric.bootstrap`, with a new client class in it."""
    marshaller = _marshaller_class(ensure_ascii=ensure_ascii)

    def to_json(value: object) -> str:
        body, _ = Encoder(ensure_ascii=ensure_ascii).encode(value)
        return body.decode()

    posts = (_post_init_error, _post_invocation_result, _post_invocation_error)
    client = type(
        "LambdaRuntimeClient",
        (),
        {
            "__module__": f"{PACKAGE}.lambda_runtime_client",
            "__doc__": "AWS's name for what speaks to the Runtime API; here it only hands on.",
            "marshaller": marshaller(),
            **dict(zip(POSTS, posts, strict=True)),
        },
    )
    return _module(
        f"{PACKAGE}.bootstrap",
        handle_event_request=handle_event_request,
        _get_handler=load_handler,
        LambdaRuntimeClient=client,
        LambdaContext=context.LambdaContext,
        FaultException=FaultException,
        LambdaMarshaller=marshaller,
        to_json=to_json,
    )


def make_package(bootstrap: Any) -> ModuleType:
    """`awslambdaric` around that module, with its submodules in `sys.modules`."""
    package = _module(PACKAGE, __version__=_VERSION, __path__=[])
    parts = (
        bootstrap,
        _module(
            f"{PACKAGE}.lambda_runtime_client", LambdaRuntimeClient=bootstrap.LambdaRuntimeClient
        ),
        _module(f"{PACKAGE}.lambda_runtime_exception", FaultException=FaultException),
        _module(
            f"{PACKAGE}.lambda_runtime_marshaller",
            LambdaMarshaller=bootstrap.LambdaMarshaller,
            to_json=bootstrap.to_json,
        ),
        _module(
            f"{PACKAGE}.lambda_context",
            LambdaContext=context.LambdaContext,
            CognitoIdentity=context.CognitoIdentity,
            ClientContext=context.ClientContext,
            Client=context.Client,
        ),
    )
    for part in parts:
        setattr(package, part.__name__.rpartition(".")[2], part)
        sys.modules[part.__name__] = part
    return package


def _module(module_name: str, **contents: object) -> ModuleType:
    module = ModuleType(module_name, "A stand-in by lambdascope for AWS's module of this name.")
    vars(module).update(contents)
    return module
