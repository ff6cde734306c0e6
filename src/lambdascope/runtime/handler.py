"""From "module.function" to a callable, with AWS's error types.

`bootstrap` calls this once in init. Rules and texts of the errors are those of awslambdaric
(bootstrap.py, _get_handler): split at the last dot, "/" reads as ".", no built-in modules. What AWS
leaves out is added: the traceback of a failed import stays on the fault as its cause, and
`import_hints` says what may be wrong.
"""

from __future__ import annotations

import sys

from lambdascope.runtime.faults import Fault, text_of
from lambdascope.wire import names

# CO_COROUTINE and CO_ASYNC_GENERATOR (`inspect` has them, and is slow to import).
_ASYNC_FLAGS = 0x80 | 0x200

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.runtime.context import LambdaContext

    Handler = Callable[[object, LambdaContext], object]


def split_handler(handler: str) -> tuple[str, str]:
    """Module and function. Raises Fault (Runtime.MalformedHandlerName)."""
    module, dot, function = handler.rpartition(".")
    if not dot:
        reason = "not enough values to unpack (expected 2, got 1)"
        raise Fault(
            names.FAULT_MALFORMED_HANDLER,
            f"Bad handler '{handler}': {reason}",
            more=_hints("for_name", handler),
        )
    return module, function


def load_handler(handler: str) -> Handler:
    """Import the module and look the function up.

    Raises Fault with AWS's types for a bad name, a missing module, a syntax error or a missing
    function; any other exception of the user's module passes through as it is.
    """
    module_name, function_name = split_handler(handler)
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            names.FAULT_BUILTIN_CONFLICT,
            f"Cannot use built-in module {module_name} as a handler module",
        )
    # The module may change sys.path before it fails.
    root = sys.path[0] if sys.path else ""
    try:
        module = _import(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault(
            names.FAULT_IMPORT_MODULE,
            f"Unable to import module '{module_name}': {text_of(error)}",
            more=_hints("for_import", module_name, root, error),
        ) from _with_trace(error)
    except SyntaxError as error:
        where = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise Fault(
            names.FAULT_SYNTAX,
            f"Syntax error in module '{module_name}': {text_of(error)}",
            [where],
            more=_hints("for_syntax", error),
        ) from _with_trace(error)
    try:
        found: Handler = getattr(module, function_name)
    except AttributeError:
        raise Fault(
            names.FAULT_HANDLER_NOT_FOUND,
            f"Handler '{function_name}' missing on module '{module_name}'",
            more=_hints("for_function", module_name, root, function_name, module),
        ) from None
    return found


def is_asynchronous(handler: object) -> bool:
    """Whether it is plainly an `async def`; a decorated one may not look so, and that is fine."""
    code = getattr(handler, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _ASYNC_FLAGS)


def _import(name: str) -> object:
    # What importlib.import_module does, without importing importlib.
    __import__(name)
    return sys.modules[name]


def _hints(which: str, *about: object) -> dict[str, object]:
    """What `import_hints` has to say; nothing where it fails: the error counts, not the hint."""
    try:
        from lambdascope.runtime import import_hints

        fields: dict[str, object] = getattr(import_hints, which)(*about)
    except Exception:  # noqa: BLE001 - no memory left, a hostile module, a broken import system
        return {}
    return fields


def _with_trace(error: Exception) -> Exception | None:
    """The cause to keep: None when it has no frame of the function, so that the message says all.

    A missing module is such a case, and a syntax error in the handler's own file.
    """
    tb = error.__traceback__
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if file != _OWN_FILE and not file.startswith("<frozen importlib"):
            return error
        tb = tb.tb_next
    return None


# Where the code says that it is from, which is what tracebacks show.
_OWN_FILE = _with_trace.__code__.co_filename
