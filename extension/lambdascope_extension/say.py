"""The one way in which the extension speaks to people: single lines on standard error.

Everything else calls it for faults and refusals, never once per request or per invocation. Lambda
sends the lines to the function's log group. It must not know what the lines are about.
"""

from __future__ import annotations

import posix

_MAX_CHARS = 1000
_STDERR = 2


def say(text: str) -> None:
    """Write one line that starts with `lambdascope: `; line breaks in `text` become spaces."""
    line = " ".join(text.split())[:_MAX_CHARS]
    try:
        posix.write(_STDERR, f"lambdascope: {line}\n".encode("utf-8", "replace"))
    except OSError:
        pass  # nobody reads our standard error; there is no other place to say so


def describe_fault(error: BaseException) -> str:
    """An exception and where it was raised, for a line about a fault of our own."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
        where = f" at {file}:{trace.tb_lineno}"
    return f"{type(error).__name__}: {error}{where}"
