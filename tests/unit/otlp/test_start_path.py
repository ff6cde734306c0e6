"""What the start of an execution environment pays for the encoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
# Everything that importing the module adds to an isolated interpreter without site-packages. A new
# line here is paid by every cold start: measure it before adding it.
LOADED = {
    "lambdascope.otlp.encode": [
        "__future__",
        "lambdascope",
        "lambdascope.otlp",
        "lambdascope.otlp.attributes",
        "lambdascope.otlp.encode",
        "lambdascope.otlp.protobuf",
    ],
    "lambdascope.otlp.log_encode": [
        "__future__",
        "lambdascope",
        "lambdascope.otlp",
        "lambdascope.otlp.attributes",
        "lambdascope.otlp.encode",
        "lambdascope.otlp.log_encode",
        "lambdascope.otlp.protobuf",
    ],
    "lambdascope.otlp.metric_encode": [
        "__future__",
        "lambdascope",
        "lambdascope.otlp",
        "lambdascope.otlp.attributes",
        "lambdascope.otlp.encode",
        "lambdascope.otlp.metric_encode",
        "lambdascope.otlp.metric_model",
        "lambdascope.otlp.model",
        "lambdascope.otlp.names",
        "lambdascope.otlp.protobuf",
    ],
    "lambdascope.otlp.model": [
        "__future__",
        "lambdascope",
        "lambdascope.otlp",
        "lambdascope.otlp.model",
        "lambdascope.otlp.names",
    ],
    "lambdascope.otlp.walk": [
        "__future__",
        "lambdascope",
        "lambdascope.otlp",
        "lambdascope.otlp.walk",
    ],
}
# The encoder is also used once, with every kind of value, to see that nothing is loaded on the way.
USE_ENCODER = """
from lambdascope.otlp.encode import TraceEncoder
class Span:
    name = "n\\ud800"; trace_id = b"t" * 16; span_id = b"s" * 8; parent_span_id = b""; kind = 1
    start_ns = end_ns = 1; events = links = (); status_code = flags = 0; encoded = b""
    status_message = trace_state = ""; dropped_attributes = dropped_events = dropped_links = 0
    attributes = {"a": 1, "b": "x", "c": 0.5, "d": [None, {"k": b""}], "e": 1 << 70, "f": object()}
assert TraceEncoder(resource={"a": 1}, scope_name="s").encode([Span])
"""


@pytest.mark.parametrize("module", LOADED)
def test_modules_loaded(module: str) -> None:
    """Importing and using the module loads the listed modules and no others."""
    use = USE_ENCODER if module == "lambdascope.otlp.encode" else f"import {module}"
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); before = set(sys.modules)\n{use}\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30
    )

    assert (done.stderr, done.returncode) == ("", 0)
    assert LOADED[module] == done.stdout.split()
