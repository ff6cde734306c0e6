"""Reading JSON without importing json gives what json gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.json_text import loads

ROOT = Path(__file__).parents[3]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=VALUES, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans())
def test_same_as_json(value: object, indent: int | None, ascii_only: bool) -> None:
    """Every JSON text has the value that json finds."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return  # an unpaired surrogate has no UTF-8
    assert value == loads(b" \r\n\t" + data + b"\n")


@given(
    data=st.binary(max_size=40) | st.text(alphabet='{}[]",:0aeul\\ -.', max_size=12).map(str.encode)
)
def test_same_errors_as_json(data: bytes) -> None:
    """What json refuses is refused, with one kind of error."""
    try:
        expected = json.loads(data.decode())
    except ValueError:
        with pytest.raises(RemoteProtocolError):
            loads(data)
    else:
        assert repr(expected) == repr(loads(data))


def test_deep_nesting_is_an_error() -> None:
    """A text that is nested too deeply is refused like any other."""
    with pytest.raises(RemoteProtocolError):
        loads(b"[" * 200_000)


BAD = (b'{"a":"open', b'{"a" 1}', b"{1}", b'["\\x"]', b"[1,]", b'"\x01"', b"", b"1 2")


def test_errors_without_json() -> None:
    """Bad texts are refused in the same way while json is not loaded."""
    code = (
        f"import sys; sys.path.append({str(ROOT / 'src')!r})\n"
        "from lambdascope.wire.errors import RemoteProtocolError\n"
        "from lambdascope.wire.json_text import loads\n"
        f"for text in {BAD!r}:\n"
        "    try: print(loads(text))\n"
        "    except RemoteProtocolError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code], capture_output=True, text=True, timeout=30
    )
    assert ("", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_json_is_not_imported() -> None:
    """Reading an event or a batch loads neither json nor re, which is why this exists."""
    code = (
        f"import sys; sys.path.append({str(ROOT / 'src')!r})\n"
        "from lambdascope.wire.extensions_api import parse_event\n"
        """parse_event(b'{"eventType":"INVOKE","deadlineMs":1,"requestId":"r"}')\n"""
        "from lambdascope.wire.telemetry_api import parse_batch\n"
        """parse_batch(b'[{"type":"platform.start"}]')\n"""
        "print(*[name for name in ('json', 're', 'enum') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code], capture_output=True, text=True, timeout=30
    )
    assert ("\n", "", 0) == (done.stdout, done.stderr, done.returncode)
