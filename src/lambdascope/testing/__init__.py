"""For tests of handlers: a real context object, an invocation without Lambda, spans in memory.

`make_context` and `Function` need nothing else; `spans` of a function needs the OpenTelemetry SDK.
With pytest there are fixtures for the same, see `lambdascope.pytest_plugin`.
"""

from lambdascope.testing.context import make_context
from lambdascope.testing.function import Function
from lambdascope.testing.spans import RecordedSpans

__all__ = ["Function", "RecordedSpans", "make_context"]
