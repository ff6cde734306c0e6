"""Loads the SDK without standard modules that it names at its start and hardly ever uses.

They are a fifth of what the SDK costs a cold start: it imports `socket`, `subprocess` and the like
for resource detectors and batches that nothing here runs. While the SDK is being loaded, a stand-in
takes the place of each that is not loaded yet; it passes every access on, and loads the module with
the first. Afterwards only modules of the SDK hold stand-ins: whoever imports the name gets the
module.
"""

from __future__ import annotations

import sys
from _thread import _count
from functools import partial
from types import ModuleType

_RARELY_USED = (
    "concurrent.futures",
    "datetime",
    "random",
    "socket",
    "subprocess",
    "urllib.parse",
)


class Lean:
    """The block in which the SDK is loaded."""

    def __init__(self) -> None:
        self._made: list[_StandIn] = []

    def __enter__(self) -> None:
        """Put the stand-ins where `import` finds them, unless another thread might find them."""
        if _count():
            return
        for name in _RARELY_USED:
            if name in sys.modules:
                continue
            holder, _, last = name.rpartition(".")
            stand_in = _StandIn(name)
            if holder:
                # Its users reach it through the package, also afterwards.
                __import__(holder)
                setattr(sys.modules[holder], last, stand_in)
                vars(sys.modules[holder]).setdefault("__getattr__", partial(_in_package, holder))
            sys.modules[name] = stand_in
            self._made.append(stand_in)

    def __exit__(self, *_: object) -> None:
        for stand_in in self._made:
            _withdraw(stand_in)


class _StandIn(ModuleType):
    """Passes what is asked of it on to the module of its name."""

    def __getattr__(self, name: str) -> object:
        return getattr(_real(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_real(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_real(self), name)

    def __dir__(self) -> list[str]:
        return dir(_real(self))


def _real(stand_in: _StandIn) -> ModuleType:
    _withdraw(stand_in)
    __import__(stand_in.__name__)
    return sys.modules[stand_in.__name__]


def _withdraw(stand_in: _StandIn) -> None:
    name = stand_in.__name__
    if sys.modules.get(name) is stand_in:
        del sys.modules[name]
        holder, _, last = name.rpartition(".")
        if holder:
            vars(sys.modules[holder]).pop(last, None)


def _in_package(package: str, name: str) -> ModuleType:
    """What a package has no attribute for: the module that a stand-in took the place of."""
    module = f"{package}.{name}"
    if module not in _RARELY_USED:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    __import__(module)
    return sys.modules[module]
