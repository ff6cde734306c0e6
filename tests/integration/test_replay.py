"""`lambdascope replay`: from the lines that an extension left to a collector, each once."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from collector import Collector
from fake_collector import Answer, FakeCollector, traces
from lambdascope.cli.arguments import Options
from lambdascope.cli.main import run
from lambdascope.cli.replay import replay
from lambdascope.otlp.lines import Line
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON_BODY = b'{"resourceSpans":[]}'


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCollector]:
    """A collector; nothing else is configured."""
    monkeypatch.delenv(names.ENV_OTLP_ENDPOINT, raising=False)
    with FakeCollector() as made:
        yield made


def line(number: int, *spans: str, body: bytes = b"", form: str = "protobuf") -> str:
    """A line of a log group, with what an export puts in front."""
    made = Line(
        signal="traces",
        form=form,
        id=f"{number:032x}",
        items=len(spans),
        body=body or traces(*spans),
    )
    return f"2026-11-21T01:02:03.004Z {made.encode().decode()}\n"


def export(folder: Path, *lines: str) -> str:
    """A log export."""
    path = folder / "export.log"
    path.write_text("START RequestId: 1\n" + "".join(lines) + "END RequestId: 1\n")
    return str(path)


def test_lines_arrive(
    collector: FakeCollector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request arrives with its own id and type, everything else is ignored and counted."""
    file = export(tmp_path, line(1, "a", "b"), "noise\n", line(2, body=JSON_BODY, form="json"))
    assert 0 == run(["replay", file, "--endpoint", collector.endpoint])
    assert [
        (f"{1:032x}", names.CONTENT_TYPE_PROTOBUF, traces("a", "b")),
        (f"{2:032x}", names.CONTENT_TYPE_JSON, JSON_BODY),
    ] == [(one.batch_id, one.headers["content-type"], one.body) for one in collector.requests]
    said = capsys.readouterr().err
    assert "2 requests sent (2 traces, 0 metrics, 0 logs; 0 items rejected)" in said
    assert "3 other lines ignored" in said


def test_nothing_is_sent_twice(
    collector: FakeCollector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that an export holds several times is sent once."""
    file = export(tmp_path, *[line(1, "a"), line(2, "b")] * 3)
    assert 0 == run(["replay", file, "--endpoint", collector.endpoint])
    assert ["a", "b"] == collector.spans
    assert "4 sent before in this run" in capsys.readouterr().err


def test_export_as_json_and_packed(collector: FakeCollector, tmp_path: Path) -> None:
    """Compact JSON with all events in one line, packed with gzip, is read like plain text."""
    events = [{"message": line(number, f"s{number}")} for number in range(5)]
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress(json.dumps({"events": events}).encode()))
    assert 0 == run(["replay", str(path), "--endpoint", collector.endpoint])
    assert [f"s{number}" for number in range(5)] == collector.spans


def test_damaged_line_is_said(
    collector: FakeCollector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that was cut is counted, named and left out; the others arrive."""
    file = export(tmp_path, line(1, "cut")[:-20] + "\n", line(2, "whole"))
    assert 0 == run(["replay", file, "--endpoint", collector.endpoint])
    assert ["whole"] == collector.spans
    assert "1 damaged" in capsys.readouterr().err


def test_busy_collector_is_waited_for(collector: FakeCollector, tmp_path: Path) -> None:
    """503 and 429 are tried again after the time that they name, under the same id."""
    collector.plan(Answer(429, headers=(("Retry-After", "7"),)), Answer(503))
    waits: list[float] = []
    options = Options(
        command="replay", file=export(tmp_path, line(1, "a")), endpoint=collector.endpoint
    )
    assert 0 == replay(options, {}, waits.append)
    assert ["a"] == collector.spans
    assert 1 == len({one.batch_id for one in collector.requests})
    assert 2 == len(waits)
    assert 7.0 <= waits[0] <= 8.0


def test_collector_that_is_down_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After several attempts the rest is not tried, and the exit code says so."""
    file = export(tmp_path, line(1, "a"), line(2, "b"))
    options = Options(command="replay", file=file, endpoint="http://127.0.0.1:1")
    waits: list[float] = []
    assert 3 == replay(options, {}, waits.append)
    assert 5 == len(waits)
    assert "0 requests sent" in (said := capsys.readouterr().err)
    assert "2 failed" in said


def test_too_large_request_is_cut(collector: FakeCollector, tmp_path: Path) -> None:
    """413: the request is sent in parts."""
    collector.plan(Answer(413))
    file = export(tmp_path, line(1, "a", "b", "c", "d"))
    assert 0 == run(["replay", file, "--endpoint", collector.endpoint])
    assert [["a", "b"], ["c", "d"]] == [one.spans for one in collector.accepted]


def test_refusal_is_a_failure(
    collector: FakeCollector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request that the collector refuses is named, the next one is sent."""
    collector.plan(Answer(400))
    file = export(tmp_path, line(1, "bad"), line(2, "good"))
    assert 3 == run(["replay", file, "--endpoint", collector.endpoint])
    assert ["good"] == collector.spans
    assert "400" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["replay"], "--endpoint"),
        (["replay", "--endpoint", "collector:4318"], "http://"),
        (["replay", "missing.log", "--endpoint", "http://c:1"], "missing.log"),
    ],
)
def test_mistakes_are_one_line(
    argv: list[str],
    part: str,
    collector: FakeCollector,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No endpoint, a wrong one or a missing file end with 3 and a line that names it."""
    assert 3 == run(argv)
    said = capsys.readouterr().err
    assert part in said
    assert 1 == len(said.splitlines())


def test_destination_by_name(
    collector: FakeCollector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extension's variables for destinations do, with keys and headers; --endpoint wins."""
    monkeypatch.setenv(names.ENV_DESTINATION, "datadog")
    monkeypatch.setenv("LAMBDASCOPE_DATADOG_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("DD_API_KEY", "key")
    file = export(tmp_path, line(1, "a"))
    assert 0 == run(["replay", file])
    assert 0 == run(["replay", file, "--endpoint", collector.endpoint])
    assert ["key", ""] == [one.headers.get("dd-api-key", "") for one in collector.requests]


def test_lines_of_several_destinations(
    collector: FakeCollector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lines that say which destination they are for, only those of the one that is set leave."""
    monkeypatch.setenv(names.ENV_DESTINATION, "datadog")
    monkeypatch.setenv("LAMBDASCOPE_DATADOG_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("DD_API_KEY", "key")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    lines = [
        line(1, "mine").replace("lambdascope-otlp-1", "to=datadog lambdascope-otlp-1"),
        line(2, "other").replace("lambdascope-otlp-1", "to=otlp lambdascope-otlp-1"),
        line(3, "any"),
    ]
    as_json = json.dumps([{"message": one} for one in lines])
    for text in ("".join(lines), as_json):
        collector.requests.clear()
        assert 0 == run(["replay", export(tmp_path, text)])
        assert ["mine", "any"] == collector.spans


def test_several_destinations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line does not tell which of several destinations it is for: the user has to."""
    monkeypatch.setenv(names.ENV_DESTINATION, "datadog,honeycomb")
    assert 0 != run(["replay", export(tmp_path, line(1, "a"))])
    assert "names 2 destinations: set it to the one" in capsys.readouterr().err


@pytest.mark.collector
def test_over_grpc(collector_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol of the standard variable is honoured."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    file = export(tmp_path, line(1, "a"))
    with Collector(collector_binary, tmp_path) as real:
        assert 0 == run(["replay", file, "--endpoint", real.grpc_endpoint])
        assert ["a"] == [span["name"] for span in real.wait_for_spans(1)]
