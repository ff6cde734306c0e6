"""Datadog's, Lumigo's and New Relic's libraries, as their documentation has them set up.

Nothing leaves the machine: Datadog and New Relic write what they would send to the log, which is
how their extensions and forwarders get it; Lumigo finds nobody at the address it is given.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from compat_kit import OURS, THEIRS, Function, json_lines, texts

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

pytestmark = pytest.mark.compat

TRACE_ROOT = "1-5759e988-bd862e3fe1be46a994272793"
DATADOG = {
    "DD_LAMBDA_HANDLER": "vendors_app.order",
    "DD_FLUSH_TO_LOG": "true",
    "DD_SERVICE": "shop",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
}
LUMIGO = {
    "LUMIGO_TRACER_TOKEN": "t_0123456789abcdef0123456789abcdef",
    "LUMIGO_TRACER_HOST": "127.0.0.1",
    "LUMIGO_ORIGINAL_HANDLER": "vendors_app.order",
}
NEW_RELIC = {
    "NEW_RELIC_SERVERLESS_MODE_ENABLED": "true",
    "NEW_RELIC_ACCOUNT_ID": "1",
    "NEW_RELIC_TRUSTED_ACCOUNT_KEY": "1",
}
WRAPPED = {
    "datadog": ("datadog_lambda.handler.handler", DATADOG),
    "lumigo": ("lumigo_app.handler", LUMIGO),
    "lumigo by name": ("lumigo_tracer.auto_instrument_handler._handler", LUMIGO),
    "new relic": ("newrelic_app.handler", NEW_RELIC),
}
_MASKED = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.,]+Z?|dd\.(?:trace|span)_id=\w+|\(\d+/MainThread\)")


def three(python: Path, side: str, wrapped: str) -> list[InvocationRecord]:
    """An ordinary invocation, one that fails, and another ordinary one."""
    handler, variables = WRAPPED[wrapped]
    with Function(python, side, handler, variables=variables) as function:
        return [function.invoke({"order": number}) for number in (17, -1, 18)]


def plain_lines(record: InvocationRecord) -> list[str]:
    """The lines that are for people, without times and ids of the library's own."""
    lines = [text for text in texts(record) if not text.startswith(("{", "[1,"))]
    return [_MASKED.sub("", line).split("\n")[0] for line in lines]


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_wrapped_by_a_vendor(compat_python: Path, wrapped: str) -> None:
    """Answers, errors and log lines are those of AWS's client, with its library around both."""
    ours, theirs = (three(compat_python, side, wrapped) for side in (OURS, THEIRS))

    assert [json.loads(each.answer) for each in theirs] == [json.loads(e.answer) for e in ours]
    assert [None, "Unhandled", None] == [each.function_error for each in ours]
    assert "ValueError" == json.loads(ours[1].answer)["errorType"]
    assert [plain_lines(each) for each in theirs] == [plain_lines(each) for each in ours]
    assert any("order 17" in line for line in plain_lines(ours[0]))


def test_what_datadog_tells(compat_python: Path) -> None:
    """Metrics and spans are the same; log lines carry the ids of the span they were written in."""
    told = [three(compat_python, side, "datadog") for side in (OURS, THEIRS)]

    ours, theirs = ([_datadog(each) for each in records] for records in told)
    assert theirs == ours
    metrics, spans = ours[1]
    assert ["aws.lambda.enhanced.invocations", "aws.lambda.enhanced.errors"] == [
        metric["m"] for metric in metrics
    ]
    assert [("aws.lambda", "shop", 1, told[0][1].request_id)] == spans
    (line,) = [text for text in texts(told[0][0]) if "order 17" in text]
    (span,) = [s for s in _spans(told[0][0]) if s["name"] == "aws.lambda"]
    assert f"dd.span_id={int(span['span_id'], 16)}]" in line


def _spans(record: InvocationRecord) -> list[dict[str, Any]]:
    lines = [line for line in json_lines(record) if "traces" in line]
    return [span for line in lines for trace in line["traces"] for span in trace]


def _datadog(record: InvocationRecord) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    """Metrics without their times, and what the function's own span says."""
    metrics = [
        {key: line[key] for key in ("m", "v", "t")} for line in json_lines(record) if "m" in line
    ]
    spans = [
        (span["name"], span["service"], span["error"], span["meta"].get("request_id"))
        for span in _spans(record)
        if span["name"] == "aws.lambda"
    ]
    return metrics, spans


def test_what_lumigo_knows(compat_python: Path) -> None:
    """Its span has the ids, the X-Ray trace and the size of the function; the first is cold."""
    records = three(compat_python, OURS, "lumigo")

    first, last = (json.loads(records[index].answer)["span"] for index in (0, 2))
    assert (records[0].request_id, "function") == (first["id"], first["name"])
    assert TRACE_ROOT.rpartition("-")[2] in first["transactionId"]
    assert ("cold", "warm") == (first["readiness"], last["readiness"])


def test_what_new_relic_tells(compat_python: Path) -> None:
    """Its payload is in the log with each invocation, and names request, function and error."""
    told = [
        [_new_relic(each) for each in three(compat_python, side, "new relic")]
        for side in (OURS, THEIRS)
    ]

    assert told[1] == told[0]
    assert [None, "builtins:ValueError", None] == [each["error"] for each in told[0]]
    assert [True, None, None] == [each["agent"].get("aws.lambda.coldStart") for each in told[0]]


def _new_relic(record: InvocationRecord) -> dict[str, Any]:
    """Metadata, the name of the transaction, its attributes and its error."""
    (line,) = [text for text in texts(record) if "NR_LAMBDA_MONITORING" in text]
    payload = json.loads(gzip.decompress(base64.b64decode(json.loads(line)[2])))
    ((intrinsic, _, agent),) = payload["data"]["analytic_event_data"][2]
    errors = payload["data"].get("error_event_data")
    return {
        "metadata": payload["metadata"],
        "name": intrinsic["name"],
        "agent": agent,
        "error": errors[2][0][0]["error.class"] if errors else None,
    }
