"""The index of instrumentors: from the metadata of packages, without a line of theirs being run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambdascope.cli.index import lines_of
from lambdascope.cli.main import run
from lambdascope.runtime.otel.instruments import from_index
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path


def package(folder: Path, name: str, entry_points: str = "", **files: str) -> None:
    """An installed distribution, with metadata only; `requires` are lines of it."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    requires = "".join(f"Requires-Dist: {line}\n" for line in files.pop("requires", "").split("\n"))
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n{requires}\n")
    if entry_points:
        text = f"[opentelemetry_instrumentor]\n{entry_points}\n"
        info.joinpath("entry_points.txt").write_text(text)
    for file, text in files.items():
        info.joinpath(file.replace("_txt", ".txt")).write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Packages of all kinds."""
    package(tmp_path, "Shop-Client", top_level_txt="shop\n_speedups\n")
    package(tmp_path, "ledger", RECORD="ledger_db/__init__.py,,\nledger-1.0.dist-info/METADATA,,\n")
    package(
        tmp_path,
        "shop-instruments",
        "shop-client = shop_instruments:Shop\nledger = shop_instruments.db:Ledger",
        requires="opentelemetry-api\nshop_client[fast]>=2.0,<3; extra == 'instruments'",
    )
    package(
        tmp_path,
        "ledger-instruments",
        "ledger = ledger_instruments:Ledger",
        requires='ledger; python_version > "3" and extra == "instruments-any"\n'
        'absent ~=1.0; extra == "instruments-any"\nledger; extra == "test"',
    )
    package(tmp_path, "untold", "some-lib = untold:Untold\nbad = untold")
    package(
        tmp_path,
        "opentelemetry-instrumentation-many",
        "requests = opentelemetry.instrumentation.requests:RequestsInstrumentor\n"
        "aws-lambda = opentelemetry.instrumentation.aws_lambda:AwsLambdaInstrumentor",
    )
    return tmp_path


def test_what_each_is_for(folder: Path) -> None:
    """By what it requires for the library, else by its name; without what is known or unwanted."""
    assert [
        "absent ledger_instruments:Ledger ledger",
        "ledger_db ledger_instruments:Ledger ledger",
        "shop shop_instruments.db:Ledger ledger",
        "shop shop_instruments:Shop shop-client",
        "some_lib untold:Untold some-lib",
    ] == lines_of(folder)


def test_written_and_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes what the runtime reads, and says it."""
    assert 0 == run(["index", str(folder)])
    text = (folder / names.INSTRUMENT_INDEX_FILE).read_text()
    told = capsys.readouterr()

    assert lines_of(folder) == text.splitlines() == told.out.splitlines()
    assert ["absent", "ledger_db", "shop", "shop", "some_lib"] == [
        one.target for one in from_index(text)
    ]
    assert told.err.endswith("lambdascope.instruments: 5 beside those known by name\n")


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has an empty index."""
    assert 0 == run(["index", str(tmp_path)])
    assert "" == (tmp_path / names.INSTRUMENT_INDEX_FILE).read_text() == capsys.readouterr().out


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said in one line."""
    assert 3 == run(["index", str(tmp_path / "none")])
    assert capsys.readouterr().err.endswith("name the one that holds the packages\n")
