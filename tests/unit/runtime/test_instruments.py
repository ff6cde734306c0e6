"""Which instrumentor a library has, and what the user's variables leave of them."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.runtime.import_watch import ImportWatch
from lambdascope.runtime.otel.instruments import Instruments, from_index, known_instrumentors
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable


def make(chosen: tuple[str, ...] | None = None, index: str = "") -> Instruments:
    """What would be instrumented; nothing may be said."""
    return Instruments(ImportWatch(), chosen, index, pytest.fail)


class Fake:
    """An instrumentor as OpenTelemetry's base class makes them: one object for its class."""

    is_instrumented_by_opentelemetry = False

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def instrument(self, **options: Any) -> None:
        """Note it."""
        self.is_instrumented_by_opentelemetry = True
        self.calls.append(options)

    def uninstrument(self) -> None:
        """Note it."""
        self.is_instrumented_by_opentelemetry = False
        self.calls.append({"undone": True})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The instrumentor that the index below names."""
    made = Fake()
    module = types.ModuleType("fake_instruments")
    module.Fake = lambda: made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_instruments", module)
    return made


INDEX = "shop.client fake_instruments:Fake shop-client"


def test_start_watches_for_all_of_the_table() -> None:
    """The names that the start path knows are those of the table."""
    known = known_instrumentors(on_request=False)

    assert sorted(names.INSTRUMENTED.split()) == sorted({one.target for one in known})


@pytest.mark.parametrize(
    ("chosen", "targets"),
    [
        (("requests",), ["requests"]),
        (("aiohttp-client",), ["aiohttp"]),
        (("aiohttp_client", "Redis"), ["aiohttp", "redis"]),
        (("botocore",), ["botocore.client"]),
        (("django",), ["django.core.handlers.base"]),
        (("threading",), ["threading"]),
        (("shop-client",), ["shop.client"]),
        (("shop",), ["shop.client"]),
    ],
)
def test_chosen_by_name(chosen: tuple[str, ...], targets: list[str]) -> None:
    """A name is that of the instrumentor or of the library; some are applied on request only."""
    assert targets == make(chosen, INDEX).targets()


@pytest.mark.parametrize("text", ["requests, shop_client", "requests,shop-client,"])
def test_disabled_by_name(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenTelemetry's variable names is left out, and nothing else."""
    everything = make(None, INDEX).targets()
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", text)

    assert {"requests", "shop.client"} == set(everything) - set(make(None, INDEX).targets())


def test_all_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A star leaves nothing."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "*")

    assert [] == make(None, INDEX).targets()


def test_lines_of_an_index() -> None:
    """A line is a target, what instruments it, and maybe a name; anything else is passed over."""
    text = "# all\n\na b.c:D\nx.y z:W a-name # why\nalone\nno colon\n\x00 \n"

    assert [("a", "b.c", "D", "a"), ("x.y", "z", "W", "a_name")] == [
        (one.target, one.module, one.kind, one.name) for one in from_index(text)
    ]


def test_applied_without_a_look_at_versions(fake: Fake) -> None:
    """The instrumentor is applied once; the check of all distributions is skipped."""
    instruments = make(None, INDEX)
    instruments.apply("shop.client")
    instruments.apply("shop.client")

    assert [{"skip_dep_check": True}] == fake.calls


def test_not_applied_twice(fake: Fake) -> None:
    """Where the function has done it already, nothing is done."""
    fake.instrument(by="hand")
    make(None, INDEX).apply("shop.client")

    assert [{"by": "hand"}] == fake.calls


def test_the_function_wins_later(fake: Fake) -> None:
    """What the function applies after us takes the place of ours, with its options."""
    make(None, INDEX).apply("shop.client")
    fake.instrument(by="hand")

    assert [{"skip_dep_check": True}, {"undone": True}, {"by": "hand"}] == fake.calls
    assert Fake.instrument == type(fake).instrument
    assert "instrument" not in vars(fake)


def test_a_missing_package_is_nothing_to_talk_about() -> None:
    """Neither it nor a namespace that lacks it is said."""
    instruments = make(None, "a opentelemetry.instrumentation.nothere:X\nb no.package.at.all:X")
    for target in ("a", "b", "unknown"):
        instruments.apply(target)


def test_what_was_asked_for_and_is_not_there() -> None:
    """A name that nobody knows is said at once, a package that is missing with its library."""
    said: list[str] = []
    index = "a opentelemetry.instrumentation.nothere:X"
    instruments = Instruments(ImportWatch(), ("a", "reqests"), index, said.append)
    instruments.apply("a")

    assert said[0].startswith(
        "LAMBDASCOPE_INSTRUMENT: 'reqests' is no library with an instrumentor"
    )
    assert said[1:] == [
        "LAMBDASCOPE_INSTRUMENT: a: opentelemetry.instrumentation.nothere is not installed"
    ]


def _raise() -> object:
    raise RuntimeError("no\nway")


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (_raise, "RuntimeError: no"),
        (None, "AttributeError"),
    ],
)
def test_a_failing_one_is_said(
    kind: Callable[[], object] | None, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, with what to do, and the import goes on."""
    module = types.ModuleType("fake_instruments")
    if kind is not None:
        module.Fake = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_instruments", module)
    said: list[str] = []
    Instruments(ImportWatch(), None, INDEX, said.append).apply("shop.client")

    (line,) = said
    assert line.startswith("shop.client is not traced: its instrumentor fake_instruments failed")
    assert complaint in line
    assert line.endswith("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=shop_client leaves it out")
