"""Failures in wire form: an exception becomes the error JSON, the error type and the X-Ray cause.

`errorMessage`, `errorType`, `requestId` and `stackTrace` are what AWS's Python client posts;
chained causes, notes and the members of exception groups are added beside them, since the Runtime
API passes the body on untouched. Everything is bounded, and a report can always be made: what
cannot be told (a broken __str__, no memory left) is left out. `traceback` and `json` are imported
inside, because healthy invocations do not need them.
"""

from __future__ import annotations

from _json import encode_basestring_ascii as _quoted

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from traceback import FrameSummary
    from types import TracebackType

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# A chain longer than this, or a group wider, tells nothing more: an error body has to stay
# readable. Groups may nest, so the exceptions of one report are counted, too.
_MAX_CHAIN = 8
_MAX_GROUP = 16
_MAX_EXCEPTIONS = 40
_MAX_NOTES = 16
# A recursion without end has thousands of frames; the first ones and the last ones tell it.
_MAX_FRAMES = 100
_MAX_LINE = 2048
_MAX_TEXT = 131_072
_MAX_PART_TEXT = 8192
# What managed instances take as an error body; classic environments take more.
_MAX_BODY_BYTES = 1_000_000
_MAX_CAUSE_FRAMES = 64
_MAX_CAUSE_TEXT = 4096
_MAX_NAME = 512


class Fault(Exception):
    """A failure that the runtime names with one of AWS's error types (`Runtime.*`).

    `trace` replaces the stack trace when it says more, as for a syntax error. `more` are fields
    that the error JSON gets beside AWS's: `hint` (text) and `searched` (see import_hints).
    """

    def __init__(
        self,
        error_type: str,
        message: str,
        trace: list[str] | None = None,
        *,
        more: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.trace = trace
        self.more = more or {}


class ErrorReport:
    """One failure, ready to be posted, logged and put on a span.

    `body` has the fields of the error JSON; `error_type` is the value of the error-type header,
    `xray_cause` that of the X-Ray header ("" where there is none to send).
    """

    __slots__ = ("body", "error_type", "xray_cause")

    def __init__(self, error: BaseException, request_id: str) -> None:
        fault_type = error.error_type if isinstance(error, Fault) else ""
        self.error_type = fault_type or function_error_type(type(error).__name__)
        self.xray_cause = ""
        if isinstance(error, MemoryError):
            _release(error.__traceback__)
        try:
            stack = _Stack(error)
            self.body = _Description().of(error, stack)
            self.xray_cause = _xray_cause(self.body, stack, is_fault=bool(fault_type))
        except Exception as broken:  # noqa: BLE001 - no memory or no stack left, or hostile classes
            self.body = _least(error, broken)
        self.body["requestId"] = request_id

    @property
    def message(self) -> str:
        """The error message."""
        return str(self.body["errorMessage"])

    @property
    def name(self) -> str:
        """The `errorType` of the body: the exception's bare class name, or the fault's type."""
        return str(self.body["errorType"])

    def to_json(self) -> bytes:
        """The body as JSON, ASCII only, within what the Runtime API takes."""
        data = json_text(self.body).encode()
        if len(data) <= _MAX_BODY_BYTES:
            return data
        kept = ("errorMessage", "errorType", "requestId", "stackTrace")
        body = {key: self.body[key] for key in kept}
        data = json_text(body).encode()
        if len(data) <= _MAX_BODY_BYTES:
            return data
        trace = body["stackTrace"]
        lines = [str(line)[:_MAX_NAME] for line in trace] if isinstance(trace, list) else []
        body["stackTrace"] = lines
        body["errorMessage"] = _cut(self.message, _MAX_PART_TEXT)
        return json_text(body).encode()

    def stack_text(self) -> str:
        """The stack trace as Python prints it and `more_lines`, for a span."""
        last = f"{self.name}: {self.message}"
        lines = ["Traceback (most recent call last):", *trace_lines(self.body), last]
        return _cut("\n".join(lines + more_lines(self.body)), _MAX_TEXT)


class _Description:
    """Makes error JSON of one exception and what hangs on it; one for each report."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of(self, error: BaseException, stack: _Stack, depth: int = 0) -> dict[str, object]:
        """The fields of one exception, with `cause`, `notes` and `exceptions` where it has them."""
        self._seen.add(id(error))
        trace = error.trace if isinstance(error, Fault) else None
        name = error.error_type if isinstance(error, Fault) else type(error).__name__
        body: dict[str, object] = {
            "errorMessage": _cut(text_of(error), _MAX_PART_TEXT if depth else _MAX_TEXT),
            "errorType": name[:_MAX_NAME],
        }
        if not depth:
            body["requestId"] = ""
        body["stackTrace"] = stack.lines() if trace is None else trace
        if isinstance(error, Fault):
            body.update(error.more)
        notes = getattr(error, "__notes__", None)
        if isinstance(notes, (list, tuple)) and notes:
            told = [_cut(text_of(note), _MAX_PART_TEXT) for note in notes[:_MAX_NOTES]]
            left_out = len(notes) - len(told)
            body["notes"] = told + ([f"[{left_out} more notes]"] if left_out else [])
        if depth < _MAX_CHAIN:
            self._add_others(body, error, depth + 1)
        return body

    def _add_others(self, body: dict[str, object], error: BaseException, depth: int) -> None:
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is not None and self._is_new(cause):
            body["cause"] = self.of(cause, _Stack(cause), depth)
        if isinstance(error, BaseExceptionGroup):
            members = [each for each in error.exceptions[:_MAX_GROUP] if self._is_new(each)]
            body["exceptions"] = [self.of(each, _Stack(each), depth) for each in members]
            left_out = len(error.exceptions) - len(members)
            if left_out:
                body["exceptionsLeftOut"] = left_out

    def _is_new(self, error: BaseException) -> bool:
        return id(error) not in self._seen and len(self._seen) < _MAX_EXCEPTIONS


class _Stack:
    """The frames of an exception without those of the runtime and of the import machinery.

    Frames beyond twice _MAX_FRAMES are left out of the middle; `left_out` counts them.
    """

    __slots__ = ("first", "last", "left_out")

    def __init__(self, error: BaseException) -> None:
        import traceback

        tb = _skip_ours(error.__traceback__)
        depth = _depth(tb)
        self.left_out = max(0, depth - 2 * _MAX_FRAMES)
        first = _MAX_FRAMES if self.left_out else depth
        self.first = _of_the_function(traceback.extract_tb(tb, limit=first)) if depth else []
        self.last: list[FrameSummary] = []
        if self.left_out:
            self.last = _of_the_function(traceback.extract_tb(tb, limit=-_MAX_FRAMES))

    def lines(self) -> list[str]:
        """The frames as AWS's client formats them, without the column markers of Python 3.11."""
        lines = _lines(self.first)
        if self.left_out:
            lines.append(f"  [{self.left_out} frames left out]\n")
        return lines + _lines(self.last)

    def innermost(self) -> list[FrameSummary]:
        """The last frames, at most _MAX_CAUSE_FRAMES."""
        return (self.first + self.last)[-_MAX_CAUSE_FRAMES:]


def trace_lines(body: dict[str, object]) -> list[str]:
    """The lines of one exception's stack trace."""
    trace = body["stackTrace"]
    elements = trace if isinstance(trace, list) else []
    return [line for element in elements for line in str(element).splitlines()]


def more_lines(body: dict[str, object]) -> list[str]:
    """What AWS's client leaves out: hints, notes, the chain of causes, the members of a group."""
    lines = _hint_lines(body)
    notes = body.get("notes")
    lines += notes if isinstance(notes, list) else []
    members = body.get("exceptions")
    others = [("Member", each) for each in members] if isinstance(members, list) else []
    others.append(("Caused by", body.get("cause")))
    for relation, other in others:
        if isinstance(other, dict):
            lines.append(f"{relation} {other['errorType']}: {other['errorMessage']}")
            lines += trace_lines(other)
            lines += more_lines(other)
    if "exceptionsLeftOut" in body:
        lines.append(f"[{body['exceptionsLeftOut']} more members]")
    return lines


def _hint_lines(body: dict[str, object]) -> list[str]:
    lines = [f"Hint: {body['hint']}"] if "hint" in body else []
    searched = body.get("searched")
    for row in searched if isinstance(searched, list) else []:
        count = f"{'at least ' if 'at_least' in row else ''}{row.get('entries')} entries"
        state = (count if "entries" in row else "a file") if row["exists"] else "does not exist"
        lines.append(f"Searched: {row['path']} ({state})")
    return lines


def text_of(value: object) -> str:
    """str(value), also when its __str__ is broken."""
    try:
        # A subclass of str that __str__ returned is no plain text yet.
        return str.__str__(str(value))
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<{type(value).__name__} whose text raised {type(broken).__name__}>"


def json_text(fields: dict[str, object]) -> str:
    """JSON, ASCII only; what JSON does not know is written as text."""
    try:
        import json

        return json.dumps(fields, default=text_of)
    except Exception:  # noqa: BLE001 - no memory or no stack left: then the texts alone
        texts = [(key, value) for key, value in fields.items() if isinstance(value, str)]
        pairs = [f"{_quoted(key)}: {_quoted(value)}" for key, value in texts]
        return f"{{{', '.join(pairs)}}}"


def function_error_type(class_name: str) -> str:
    """`Function.<Name>`; Lambda accepts letters only and a capital first."""
    letters = "".join(char for char in class_name[:_MAX_NAME] if char in _LETTERS)
    if len(letters) < 2:
        return names.FAULT_FUNCTION_UNKNOWN
    return f"Function.{letters[0].upper()}{letters[1:]}"


def exit_status(error: SystemExit) -> int:
    """What the process would have exited with (sys.exit: None is 0, text is 1)."""
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def exit_fault(error: SystemExit, request_id: str) -> Fault:
    """sys.exit in the words that the platform has for a runtime that is gone, and its text."""
    status = exit_status(error)
    text = f"Runtime exited with error: exit status {status}"
    if request_id:
        text = f"RequestId: {request_id} Error: {text}"
    if error.code is not None and not isinstance(error.code, int):
        text = f"{text}: {text_of(error.code)}"
    fault = Fault(names.FAULT_EXIT, text)
    return fault.with_traceback(error.__traceback__)


def _least(error: BaseException, broken: BaseException) -> dict[str, object]:
    """The error JSON of a failure that cannot be described."""
    name = error.error_type if isinstance(error, Fault) else type(error).__name__
    told = f"{_cut(text_of(error), _MAX_PART_TEXT)} (no more can be told: {type(broken).__name__})"
    return {
        "errorMessage": told.lstrip(),
        "errorType": name[:_MAX_NAME],
        "requestId": "",
        "stackTrace": [],
    }


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... [{len(text) - limit} more characters]"


def _release(tb: TracebackType | None) -> None:
    """Let go of what the function still holds, so that there is memory for the report."""
    while tb is not None:
        try:
            tb.tb_frame.clear()
        except RuntimeError:
            pass  # it still runs: one of ours
        tb = tb.tb_next


def _depth(tb: TracebackType | None) -> int:
    depth = 0
    while tb is not None:
        depth += 1
        tb = tb.tb_next
    return depth


def _of_the_function(frames: list[FrameSummary]) -> list[FrameSummary]:
    others = ("<frozen importlib", _OUR_FILES)
    return [frame for frame in frames if not frame.filename.startswith(others)]


def _lines(frames: list[FrameSummary]) -> list[str]:
    import traceback

    plain = [(f.filename, f.lineno or 0, f.name, (f.line or "")[:_MAX_LINE]) for f in frames]
    return traceback.format_list(plain)


def _skip_ours(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from the function's first frame on; a coroutine has others before that."""
    while tb is not None:
        is_ours = tb.tb_frame.f_code.co_filename.startswith(_OUR_FILES)
        module = str(tb.tb_frame.f_globals.get("__name__"))
        if not is_ours and not module.startswith(("asyncio.", "concurrent.futures.")):
            break
        tb = tb.tb_next
    return tb


# Where the code says that it is from, which is what tracebacks show.
_OUR_FILES = _skip_ours.__code__.co_filename.rpartition("faults")[0]


def _xray_cause(body: dict[str, object], stack: _Stack, *, is_fault: bool) -> str:
    """The X-Ray error cause, ASCII, within its limit; "" when even the one without frames is not.

    Shape: working_directory, exceptions with message, type and stack, paths (X-Ray developer guide,
    "Segment documents").
    """
    # AWS's client calls every failure of its own by one name, and gives it no stack.
    kind = "LambdaValidationError" if is_fault else body["errorType"]
    frames = [] if is_fault else stack.innermost()
    exception = {
        "message": str(body["errorMessage"])[:_MAX_CAUSE_TEXT],
        "type": kind,
        "stack": [{"label": f.name, "path": f.filename, "line": f.lineno} for f in frames],
    }
    cause: dict[str, object] = {
        "working_directory": _working_directory(),
        "exceptions": [exception],
        "paths": sorted({frame.filename for frame in frames}),
    }
    text = _header_json(cause)
    if len(text) > names.MAX_XRAY_CAUSE_BYTES:
        exception["stack"] = cause["paths"] = []
        text = _header_json(cause)
    return text if len(text) <= names.MAX_XRAY_CAUSE_BYTES else ""


def _header_json(fields: dict[str, object]) -> str:
    # DEL is the one character that JSON leaves alone and a header must not have.
    return json_text(fields).replace("\x7f", "\\u007f")


def _working_directory() -> str:
    import os

    try:
        return os.getcwd()
    except OSError:
        return ""  # it was deleted
