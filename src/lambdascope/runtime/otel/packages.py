"""Which OpenTelemetry the process has: the function's own, or the one that a layer of ours brings.

Loaded when `opentelemetry` is first searched for. Its distributions pin each other's versions and
share one namespace, in which Python would join parts of two sets without a word. So the function's
own set wins as it is, and ours, a folder beside this package, is put behind everything on sys.path
only where nothing of the function's has another version. An API that is alone and older is passed
over in favour of our whole set; one that is newer may be used in ways that ours does not know.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_API = "opentelemetry-api"
_SDK = "opentelemetry-sdk"
# Where each distribution says its version. Exporters and other instrumentors need one of these.
_VERSIONS = {
    _API: "version",
    _SDK: "sdk.version",
    "opentelemetry-semantic-conventions": "semconv.version",
    "opentelemetry-proto": "proto.version",
    "opentelemetry-instrumentation": "instrumentation.version",
}


# Portions of the namespace where ours are the first: a search need not end in an import.
_portions: list[str] = []


def choose(say: Callable[[str], None]) -> ModuleSpec | None:
    """Decide, before the first import; what `opentelemetry` is, if not what is found anyway."""
    folder = packages_folder()
    ours = f"{folder}/opentelemetry"
    if folder in sys.path:
        return _spec() if ours in _portions else None
    if not os.path.isdir(ours):
        return None
    found = PathFinder.find_spec("opentelemetry")
    theirs = list((found and found.submodule_search_locations) or ())
    has, brings = versions_in(theirs), versions_in([ours])
    other = {name for name, version in has.items() if brings.get(name, version) != version}
    if not other:
        sys.path.append(folder)
        return None
    if has.keys() != {_API} or not [] < _numbers(has[_API]) <= _numbers(brings.get(_API, "")):
        return None  # it is said where an SDK is needed and not there
    sys.path.append(folder)
    say(
        f"{_API} {has[_API]} in {theirs[0].rpartition('/')[0]} is without its SDK: not used, but "
        f"all of version {brings[_API]}, which lambdascope brings; add {_SDK} to use your own"
    )
    _portions[:] = ours, *theirs
    return _spec()


def _spec() -> ModuleSpec:
    spec = ModuleSpec("opentelemetry", None, is_package=True)
    spec.submodule_search_locations = _portions[:]
    return spec


def packages_folder() -> str:
    """Where a layer has the packages; need not exist."""
    return f"{__file__.rpartition('/lambdascope/')[0]}/{names.PACKAGES_FOLDER}"


def advice() -> str:
    """What to do about an SDK that cannot be used, by what there is of OpenTelemetry."""
    has = versions_in(list(getattr(sys.modules.get("opentelemetry"), "__path__", ())))
    api, sdk = has.get(_API), has.get(_SDK)
    if api is None or api == sdk:
        return "is a whole set of opentelemetry packages on the path?"
    if sdk is not None:
        return f"{_API} {api} and {_SDK} {sdk} do not go together: install them in one version"
    brought = versions_in([f"{packages_folder()}/opentelemetry"]).get(_SDK)
    why = f", and {brought}, which lambdascope brings, does not go with it" if brought else ""
    return f"{_API} {api} is there without its SDK{why}: add {_SDK}=={api}"


def versions_in(folders: list[str]) -> dict[str, str]:
    """The versions of what is in these folders of `opentelemetry`, by distribution."""
    found = {name: _version(folders, module) for name, module in _VERSIONS.items()}
    return {name: version for name, version in found.items() if version}


def _version(folders: list[str], module: str) -> str:
    spec = None
    for name in module.split("."):
        # Not by its whole name, for which its parent would have to be loaded.
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return ""
        folders = list(spec.submodule_search_locations or ())
    if spec is None or spec.loader is None:
        return ""  # folders that a distribution has left behind
    made = type(sys)(spec.name)
    try:
        spec.loader.exec_module(made)
    except Exception:  # noqa: BLE001 - whatever it is, it is not a version of ours
        return "?"
    return str(getattr(made, "__version__", "?"))


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
