"""Environment variables, trace headers and memory sums: what is decided without a process."""

from __future__ import annotations

import re

import pytest

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.proc import Memory, total_bytes
from lambdascope.emulator.trace import complete_trace_header
from lambdascope.emulator.variables import extension_variables, runtime_variables


def variables(otlp_endpoint: str | None = None, **mine: str) -> dict[str, str]:
    """The runtime's variables of a function with these of its own."""
    config = FunctionConfig(handler="a.b", task_root="/task", variables=mine)
    return runtime_variables(
        config,
        address="127.0.0.1:1",
        log_stream="s",
        handoff_file="/private/handoff",
        otlp_endpoint=otlp_endpoint,
        inherited={"PATH": "/bin", "AWS_PROFILE": "mine", "PYTHONPATH": "/home"},
    )


def test_the_shell_of_the_user_is_not_passed_on() -> None:
    """Only what a program needs to be found and loaded comes from outside."""
    found = variables()
    assert "/bin" == found["PATH"]
    assert not {"AWS_PROFILE", "PYTHONPATH"} & found.keys()


def test_reserved_names_win() -> None:
    """The user's variables cannot replace what Lambda sets, but they can replace defaults."""
    found = variables(
        AWS_LAMBDA_RUNTIME_API="else",
        _HANDLER="else",
        LAMBDASCOPE_HANDOFF_FILE="/tmp/else",
        AWS_ACCESS_KEY_ID="real",
        LAMBDASCOPE_OTLP_PORT="9",
        LANG="C",
    )
    assert ("127.0.0.1:1", "a.b") == (found["AWS_LAMBDA_RUNTIME_API"], found["_HANDLER"])
    assert "/private/handoff" == found["LAMBDASCOPE_HANDOFF_FILE"]
    assert ("real", "9", "C") == (
        found["AWS_ACCESS_KEY_ID"],
        found["LAMBDASCOPE_OTLP_PORT"],
        found["LANG"],
    )


def test_the_endpoint_is_set_when_there_is_one() -> None:
    """The page's receiver, unless the user names another."""
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in variables()
    found = variables("http://127.0.0.1:2")
    assert "http://127.0.0.1:2" == found["OTEL_EXPORTER_OTLP_ENDPOINT"]
    found = variables("http://127.0.0.1:2", OTEL_EXPORTER_OTLP_ENDPOINT="http://mine")
    assert "http://mine" == found["OTEL_EXPORTER_OTLP_ENDPOINT"]


def test_extensions_get_no_underscore() -> None:
    """Nothing that starts with one, and none of the runtime's own."""
    found = extension_variables(variables(OK="1"))
    assert "1" == found["OK"]
    assert not [name for name in found if name.startswith("_")]
    assert "LAMBDA_TASK_ROOT" not in found


ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
FRESH = r"Root=1-0000ffff-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0"


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        (None, FRESH),
        ("", FRESH),
        ("garbage", FRESH),
        ("Root=1-xyz;Sampled=1", FRESH[:-1] + "1"),
        (ROOT, ROOT + r";Parent=[0-9a-f]{16};Sampled=0"),
        (f"{ROOT};Sampled=1", ROOT + r";Sampled=1;Parent=[0-9a-f]{16}"),
        (f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1", None),
        (f"Sampled=0;{ROOT};Parent=53995c3f42cd8ad8;Lineage=a:1", None),
    ],
)
def test_trace_headers_are_completed(given: str | None, pattern: str | None) -> None:
    """A whole header stays as it is, a part is filled up, nonsense is replaced."""
    found = complete_trace_header(given, 0xFFFF)
    assert re.fullmatch(re.escape(given or "") if pattern is None else pattern, found)


def memory(program: str, anonymous: int, file: int) -> Memory:
    """One process."""
    return Memory(
        pid=1,
        program=program,
        anonymous_bytes=anonymous,
        file_bytes=file,
        below_peak_bytes=0,
    )


def test_file_pages_count_once_for_each_program() -> None:
    """Two processes of one program share what is mapped from files."""
    python = [memory("/python", 10, 7), memory("/python", 20, 5)]
    assert 37 == total_bytes(python)
    assert 45 == total_bytes([*python, memory("/other", 3, 5)])
    assert 0 == total_bytes([])
