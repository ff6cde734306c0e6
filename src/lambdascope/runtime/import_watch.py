"""Calls back when a named module is first imported, and costs one look-up per import until then.

A finder at the front of `sys.meta_path`. The runtime uses it to set up `logging` for functions that
import it, instead of importing it for all (about 11 ms of a cold start), and to instrument
libraries when they are used.
"""

from __future__ import annotations

import sys

from lambdascope.runtime.faults import text_of
from lambdascope.runtime.logs import say
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.otel.instruments import Instruments

    Callback = Callable[[ModuleType], object]
    Before = Callable[[], Callable[[], object]]
    Maker = Callable[[], ModuleType]
    Search = Callable[[], ModuleSpec | None]


class ImportWatch:
    """A meta-path finder that hands every search on, and wraps the loader of watched modules."""

    def __init__(self) -> None:
        self._callbacks: dict[str, Callback] = {}
        self._before: dict[str, Before] = {}
        self._makers: dict[str, Maker] = {}
        self._searches: dict[str, Search] = {}
        self._searching = ""

    def install(self) -> None:
        """Put it in front of the other finders."""
        sys.meta_path.insert(0, self)

    def when_imported(self, name: str, callback: Callback, *, before: Before | None = None) -> None:
        """Call once after the module's code has run; at once when it is loaded already.

        `before` is called before its code runs, and what that returns after it, come what may.
        """
        self._callbacks[name] = callback
        if before is not None:
            self._before[name] = before
        self._settle([name])

    def when_any_imported(self, names: Iterable[str], callback: Callback) -> None:
        """Call once for each of the modules, unless something else waits for it."""
        self._callbacks = dict.fromkeys(names, callback) | self._callbacks
        self.settle()

    def when_settled(self, name: str, callback: Callback) -> None:
        """Call with the next `settle` for a module that is just being imported."""
        self._callbacks[name] = callback

    def when_missing(self, name: str, make: Maker) -> None:
        """Call for the module when it is imported and no other finder has it."""
        self._makers[name] = make

    def when_searched(self, name: str, search: Search) -> None:
        """Call whenever the module is searched for; a spec that it gives is what is found."""
        self._searches[name] = search

    def settle(self) -> None:
        """Call for what was loaded past this finder, as when the function replaced the finders."""
        self._settle(list(self._callbacks))

    def _settle(self, names: list[str]) -> None:
        for name in names:
            module = sys.modules.get(name)
            if module is not None:
                self._loaded(name, module)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with its loader wrapped when it is watched."""
        if name in self._searches:
            found = self._searches[name]()
            if found is not None:
                return found
        if not (name in self._callbacks or name in self._makers) or self._searching == name:
            return None
        self._searching = name
        try:
            spec = self._find_elsewhere(name, path, target)
        finally:
            self._searching = ""
        if spec is None and name in self._makers:
            loader = _Maker(self._makers[name])
            # `ModuleSpec`, which would have to be imported from importlib.
            spec = type(__spec__)(name, loader, is_package=True)  # type: ignore[arg-type]  # enough
        if name not in self._callbacks:
            return spec
        # A search need not end in an import, so the callback stays until the code has run.
        if spec is not None and hasattr(spec.loader, "exec_module"):
            before = self._before.get(name)
            called = _Loader(spec.loader, lambda module: self._loaded(name, module), before)
            spec.loader = called  # type: ignore[assignment]  # it passes everything on
        return spec

    def _find_elsewhere(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is not self and find is not None:
                spec: ModuleSpec | None = find(name, path, target)
                if spec is not None:
                    return spec
        return None

    def _loaded(self, name: str, module: ModuleType) -> None:
        callback = self._callbacks.pop(name, None)
        if callback is None:
            return
        try:
            callback(module)
        except Exception as fault:  # noqa: BLE001 - this runs inside an import of the function
            say(f"at the import of {name}: {type(fault).__name__}: {text_of(fault)}; going on")


class _Maker:
    """Loads a module by making it."""

    def __init__(self, make: Maker) -> None:
        self._make = make

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._make()

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run."""


class _Loader:
    """Runs the real loader, then the callback; afterwards nothing points here any more."""

    def __init__(self, loader: object, callback: Callback, before: Before | None) -> None:
        self._loader = loader
        self._callback = callback
        self._before = before

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader  # type: ignore[assignment]  # the finder's own loader
        module.__loader__ = self._loader  # type: ignore[assignment]  # the finder's own loader
        after = None if self._before is None else self._before()
        try:
            self._loader.exec_module(module)  # type: ignore[attr-defined]
        finally:
            if after is not None:
                after()
        self._callback(module)


def watch_libraries(watch: ImportWatch, config: RuntimeConfig) -> None:
    """Have OpenTelemetry's instrumentors applied, each when its library is first imported, and a
    layer's packages of OpenTelemetry found."""
    watch.when_searched("opentelemetry", _choose_packages)
    chosen = config.instruments
    if chosen == ():
        return
    index = _index(config.instrument_index)
    made: list[Instruments] = []

    def instruments() -> Instruments:
        if not made:
            from lambdascope.runtime.otel.instruments import Instruments

            made.append(Instruments(watch, chosen, index, say))
        return made[0]

    # What a user has chosen is looked up at once, all that can be only when there is some of it.
    targets = names.INSTRUMENTED.split() if chosen is None else instruments().targets()
    if chosen is None and index:
        targets += [line.partition(" ")[0] for line in index.splitlines()]
    watch.when_any_imported(targets, lambda module: instruments().apply(module.__name__))


def _choose_packages() -> ModuleSpec | None:
    from lambdascope.runtime.otel.packages import choose

    return choose(say)


def _index(path: str) -> str:
    """The text of the index of further instrumentors, which need not be there."""
    file = path or f"{__file__.rpartition('/lambdascope/')[0]}/{names.INSTRUMENT_INDEX_FILE}"
    try:
        with open(file, encoding="utf-8") as lines:
            return lines.read()
    except (OSError, ValueError) as error:
        if path:
            say(f"{names.ENV_INSTRUMENT_INDEX}: {error}; make it with `lambdascope index`")
        return ""
