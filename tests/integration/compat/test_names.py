"""Names that Datadog's, Lumigo's and New Relic's libraries look up, and AWS's override point."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from compat_kit import OURS, THEIRS, Function, texts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.compat

SIDES = pytest.mark.parametrize("side", [OURS, THEIRS])


@SIDES
def test_the_formatter_of_the_log_handler(compat_python: Path, side: str) -> None:
    """A formatter for AWS's LambdaLoggerHandler, which ends its lines, gives single ones."""
    with Function(compat_python, side, "names_app.echo") as function:
        record = function.invoke({"a": 1})

    assert [f"[WARNING]\t{record.request_id}\t[id=7]\thello"] == texts(record)


@SIDES
def test_the_context_takes_further_attributes(compat_python: Path, side: str) -> None:
    """A library may hang its own things on the context."""
    with Function(compat_python, side, "names_app.echo") as function:
        assert function.answer({"a": 1})["marked"] is True


@SIDES
def test_a_wrapper_that_finds_the_handler(compat_python: Path, side: str) -> None:
    """A wrapper that is the configured handler finds the real one as AWS's client does."""
    variables = {"ORIGINAL_HANDLER": "names_app.echo"}
    with Function(compat_python, side, "names_app.redirected", variables=variables) as function:
        assert {"a": 1} == function.answer({"a": 1})["event"]


@SIDES
def test_import_tracers(compat_python: Path, side: str) -> None:
    """A tracer of imports may wrap our finders and loaders like all others."""
    with Function(compat_python, side, "names_app.traced_imports") as function:
        assert {"module": "colorsys", "seen": ["colorsys"]} == function.answer({})


def test_another_marshaller(compat_python: Path) -> None:
    """`LambdaRuntimeClient.marshaller` reads events and writes results, as under AWS's client."""
    answers = []
    for side in (OURS, THEIRS):
        with Function(compat_python, side, "marshal_app.handler") as function:
            records = [function.invoke(event) for event in ("dates", "text", "nothing")]
        answers.append([(each.answer, each.content_type) for each in records])

    assert answers[1] == answers[0]
    dates, text, nothing = answers[0]
    expected = {"event": {"wrapped": "dates"}, "on": "2026-01-01"}
    assert (expected, "application/vnd.own+json") == (json.loads(dates[0]), dates[1])
    assert (b'"text"', "application/json") == text
    assert re.search(rb'"errorType": ?"Runtime.MarshalError"', nothing[0])
