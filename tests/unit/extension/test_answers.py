"""What the collector's answers mean, and what is said about them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from lambdascope_extension.answers import (
    CUT,
    EXPORTED,
    REFUSED,
    RETRY,
    Result,
    from_response,
    partial_success,
)
from lambdascope_extension.export_config import Destination
from lambdascope_extension.reporter import Reporter


@pytest.mark.parametrize("status", [200, 202, 204])
def test_success(status: int) -> None:
    """Every 2xx is a success; Datadog answers 202."""
    assert EXPORTED == from_response(status, "", b"", is_json=False).outcome


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retryable(status: int) -> None:
    """The four statuses of the specification may be tried again."""
    assert RETRY == from_response(status, "", b"", is_json=False).outcome


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "OTEL_EXPORTER_OTLP_HEADERS"),
        (403, "OTEL_EXPORTER_OTLP_HEADERS"),
        (404, "the path of OTEL_EXPORTER_OTLP_ENDPOINT"),
        (301, "the path of OTEL_EXPORTER_OTLP_ENDPOINT"),
        (413, "limit"),
        (400, "protobuf"),
        (500, "collector"),
        (501, "collector"),
    ],
)
def test_refused(status: int, hint: str) -> None:
    """Everything else is final, and says what to look at."""
    result = from_response(status, "Phrase", b"", is_json=False)
    assert (REFUSED, f"{status} Phrase") == (result.outcome, result.reason)
    assert hint in result.hint


@pytest.mark.parametrize("rejected", [0, 1, 127, 128, 10**12])
def test_partial_success_of_protobuf(rejected: int) -> None:
    """Count and message are those that the official encoder wrote."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = "too öld"
    body = response.SerializeToString()
    assert (rejected, "too öld") == partial_success(body, is_json=False)


def test_partial_success_of_json() -> None:
    """JSON has 64-bit numbers as strings."""
    body = json.dumps({"partialSuccess": {"rejectedSpans": "12", "errorMessage": "why"}}).encode()
    assert (12, "why") == partial_success(body, is_json=True)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"partialSuccess":null}', b"nonsense"])
def test_full_success_of_json(body: bytes) -> None:
    """No partial success, or nothing that can be read, is a full success."""
    assert (0, "") == partial_success(body, is_json=True)


@given(body=st.binary(max_size=60), is_json=st.booleans())
def test_any_answer_can_be_read(body: bytes, is_json: bool) -> None:
    """A collector may send anything behind its 200."""
    rejected, message = partial_success(body, is_json=is_json)
    assert isinstance(rejected, int)
    assert len(message) <= 200


def destination() -> Destination:
    """Somewhere to send traces to."""
    url = "https://c/v1/traces"
    return Destination(signal="traces", url=f"{url}?key=secret", shown=url, port=443)


def test_one_line_for_each_kind_of_failure() -> None:
    """A failure is said when it is met first, in one line with place, reason and remedy."""
    lines: list[str] = []
    reporter = Reporter(lines.append)
    for _ in range(3):
        reporter.on_failed(
            destination(), from_response(401, "Unauthorized", b"", is_json=False), "x"
        )
        reporter.on_failed(destination(), Result(CUT), "kept")
    start = "export of traces to https://c/v1/traces failed: "
    cut = (
        "no answer before the function had to go on; kept; look at the collector and the way to it"
    )
    assert [
        f"{start}401 Unauthorized; x; check OTEL_EXPORTER_OTLP_HEADERS",
        f"{start}{cut}",
    ] == lines


def test_number_of_lines_is_bounded() -> None:
    """A collector that fails in ever new ways does not fill the log."""
    lines: list[str] = []
    reporter = Reporter(lines.append)
    for number in range(500, 600):
        reporter.on_failed(destination(), from_response(number, "", b"", is_json=False), "x")
    assert 8 == len(lines)


def test_partial_success_is_said_once() -> None:
    """Rejected items are said with the collector's message, a warning without any as well."""
    lines: list[str] = []
    reporter = Reporter(lines.append)
    result = Result(EXPORTED)
    reporter.on_exported(destination(), result)
    result.rejected, result.message = 3, "no such index"
    reporter.on_exported(destination(), result)
    reporter.on_exported(destination(), result)
    assert ["https://c/v1/traces rejected 3 items of a request for traces: no such index"] == lines


@pytest.mark.parametrize(("module", "package"), [("grpc", "grpcio"), ("requests", "requests")])
def test_package_that_is_missing(module: str, package: str) -> None:
    """A sender that cannot be loaded is said with the package to add."""
    lines: list[str] = []
    Reporter(lines.append).on_no_sender(f"ModuleNotFoundError: No module named {module!r}")

    assert f"add the package `{package}` to" in lines[0]


def test_collector_that_repeats_the_key() -> None:
    """What a collector says with a partial success is shown without the values of headers."""
    lines: list[str] = []
    to = destination()
    to.headers = {"authorization": b"Bearer k3y-v4lue", "x-team": b"a"}
    result = Result(EXPORTED)
    result.rejected, result.message = 1, "a key k3y-v4lue (Bearer k3y-v4lue)"
    Reporter(lines.append).on_exported(to, result)

    assert lines[0].endswith(": a key *** (***)")
