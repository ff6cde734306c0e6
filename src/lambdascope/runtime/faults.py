"""Failures in wire form: an exception becomes the error JSON, the error type and the X-Ray cause.

`errorMessage`, `errorType`, `requestId` and `stackTrace` are what AWS's Python client posts;
chained causes, notes and the members of exception groups are added beside them, since the Runtime
API passes the body on untouched. `traceback` is imported inside, because healthy invocations do not
need it.
"""

from __future__ import annotations

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from traceback import FrameSummary
    from types import TracebackType

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OUR_FILES = __file__.rpartition("faults")[0]
# A chain longer than this tells nothing more; an error body has to stay readable.
_MAX_CHAIN = 8
_MAX_GROUP = 16
_MAX_CAUSE_FRAMES = 64
_MAX_CAUSE_TEXT = 4096


class Fault(Exception):
    """A failure that the runtime names with one of AWS's error types (`Runtime.*`).

    `trace` replaces the stack trace when it says more, as for a syntax error.
    """

    def __init__(self, error_type: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.trace = trace


class ErrorReport:
    """One failure, ready to be posted, logged and put on a span.

    `body` has the fields of the error JSON; `error_type` is the value of the error-type header.
    """

    __slots__ = ("body", "error_type", "stack", "xray_cause")

    def __init__(self, error: BaseException, request_id: str) -> None:
        fault_type = error.error_type if isinstance(error, Fault) else ""
        self.stack = _frames(error)
        self.body = describe(error, self.stack)
        self.body["requestId"] = request_id
        self.error_type = fault_type or function_error_type(type(error).__name__)
        self.xray_cause = _xray_cause(self.body, self.stack, is_fault=bool(fault_type))

    @property
    def message(self) -> str:
        """The error message."""
        return str(self.body["errorMessage"])

    @property
    def name(self) -> str:
        """The `errorType` of the body: the exception's bare class name, or the fault's type."""
        return str(self.body["errorType"])

    def to_json(self) -> bytes:
        """The body as JSON, ASCII only."""
        import json

        return json.dumps(self.body, default=str).encode()

    def stack_text(self) -> str:
        """The stack trace as Python prints it, for a span."""
        lines = self.body["stackTrace"]
        text = "".join(str(line) for line in lines) if isinstance(lines, list) else ""
        return f"Traceback (most recent call last):\n{text}{self.name}: {self.message}"


def describe(error: BaseException, stack: list[FrameSummary], depth: int = 0) -> dict[str, object]:
    """The error JSON of one exception, with `cause`, `notes` and `exceptions` where it has them."""
    name = error.error_type if isinstance(error, Fault) else type(error).__name__
    trace = error.trace if isinstance(error, Fault) else None
    body: dict[str, object] = {
        "errorMessage": text_of(error),
        "errorType": name,
        "requestId": "",
        "stackTrace": _lines(stack) if trace is None else trace,
    }
    if depth:
        del body["requestId"]
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list) and notes:
        body["notes"] = [str(note) for note in notes]
    if depth < _MAX_CHAIN:
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is not None:
            body["cause"] = describe(cause, _frames(cause), depth + 1)
        if isinstance(error, BaseExceptionGroup):
            members = error.exceptions[:_MAX_GROUP]
            body["exceptions"] = [describe(each, _frames(each), depth + 1) for each in members]
    return body


def text_of(error: BaseException) -> str:
    """str(error), also when its __str__ is broken."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<{type(error).__name__} whose text raised {type(broken).__name__}>"


def function_error_type(class_name: str) -> str:
    """`Function.<Name>`; Lambda accepts letters only and a capital first."""
    letters = "".join(char for char in class_name if char in _LETTERS)
    return (
        f"Function.{letters[0].upper()}{letters[1:]}"
        if len(letters) > 1
        else (names.FAULT_FUNCTION_UNKNOWN)
    )


def _frames(error: BaseException) -> list[FrameSummary]:
    """The stack without the frames of the runtime and of the import machinery around it."""
    import traceback

    frames = list(traceback.extract_tb(_skip_ours(error.__traceback__)))
    return [frame for frame in frames if not frame.filename.startswith("<frozen importlib")]


def _lines(stack: list[FrameSummary]) -> list[str]:
    """The frames as AWS's client formats them, without the column markers of Python 3.11."""
    import traceback

    plain = [(f.filename, f.lineno or 0, f.name, f.line) for f in stack]
    return traceback.format_list(plain)


def _skip_ours(tb: TracebackType | None) -> TracebackType | None:
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OUR_FILES):
        tb = tb.tb_next
    return tb


def _xray_cause(body: dict[str, object], stack: list[FrameSummary], *, is_fault: bool) -> str:
    """The X-Ray error cause, ASCII and within its limit, or "" when even the short form is not.

    Shape: working_directory, exceptions with message, type and stack, paths (X-Ray developer guide,
    "Segment documents").
    """
    import json
    import os

    kept = stack[-_MAX_CAUSE_FRAMES:]
    try:
        directory = os.getcwd()
    except OSError:
        directory = ""  # the working directory was deleted
    exception = {
        "message": str(body["errorMessage"])[:_MAX_CAUSE_TEXT],
        # AWS's client calls every failure of its own by this one name.
        "type": "LambdaValidationError" if is_fault else body["errorType"],
        "stack": []
        if is_fault
        else [{"label": f.name, "path": f.filename, "line": f.lineno} for f in kept],
    }
    paths = sorted({f.filename for f in kept}) if not is_fault else []
    cause = {"working_directory": directory, "exceptions": [exception], "paths": paths}
    text = json.dumps(cause)
    return text if len(text) <= names.MAX_XRAY_CAUSE_BYTES else ""
