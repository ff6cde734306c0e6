"""A bounded look at the folders that Python imports from; loaded only when an import has failed.

`import_hints` asks it for names of modules, for compiled files that cannot be loaded here, and for
a digest of sys.path. It gives up after so many entries or so much time, and takes what cannot be
read for empty: a failed init has to be reported at once. No file's content is told.
"""

from __future__ import annotations

import os
import sys
from _imp import extension_suffixes
from time import monotonic_ns

# A function's package with its dependencies has some hundred entries at the top.
_MAX_ENTRIES = 3000
_MAX_NS = 30_000_000
_MAX_PATHS = 24
_MAX_SOURCE_BYTES = 65_536
_COMPILED = (".so", ".pyd", ".dylib")
# e_machine of the ELF header (System V ABI, and its processor supplements), as uname has it.
_MACHINES = {3: "i686", 22: "s390x", 21: "ppc64le", 40: "armv7l", 62: "x86_64", 183: "aarch64"}
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


class Search:
    """One look around, for one failure. No method raises for what it finds or does not find."""

    def __init__(self, *, entries: int = _MAX_ENTRIES, time_ns: int = _MAX_NS) -> None:
        self._left = entries
        self._end_ns = monotonic_ns() + time_ns
        self._known: dict[str, dict[str, bool]] = {}

    @property
    def spent(self) -> bool:
        """Whether it has seen as much as it may."""
        return self._left <= 0 or monotonic_ns() > self._end_ns

    def entries(self, folder: str) -> dict[str, bool]:
        """Names in a folder, and whether each is a folder; a part of them when there are many."""
        if folder not in self._known:
            found: dict[str, bool] = {}
            # Also what was seen before an error counts.
            self._known[folder] = found
            try:
                with os.scandir(folder or ".") as listing:
                    for entry in listing:
                        if self.spent:
                            break
                        self._left -= 1
                        found[entry.name] = entry.is_dir()
            except (OSError, ValueError):
                pass  # it is missing, a file, or not readable: nothing is importable from it
        return self._known[folder]

    def modules(self, folder: str) -> dict[str, str]:
        """Importable names in a folder, each with the file or folder that it comes from."""
        found: dict[str, str] = {}
        for name, is_folder in self.entries(folder).items():
            stem = name.partition(".")[0]
            if is_folder:
                if name.isidentifier() and name != "__pycache__":
                    found.setdefault(name, f"{name}/")
            elif name.endswith((".py", *extension_suffixes())) and stem != "__init__":
                found[stem] = name
        return found

    def misfit(self, folder: str, module: str) -> str:
        """Why the compiled files of a module in a folder cannot be loaded here; "" without any."""
        told = ""
        for name in self.entries(folder):
            if name.startswith(f"{module}.") and name.endswith(_COMPILED):
                reason = misfit_of(os.path.join(folder, name))
                if not reason:
                    return ""
                told = f"{os.path.join(folder, name)} was built for {reason}"
        return told

    def functions(self, file: str) -> list[str]:
        """The functions that a source file defines at its top, without running it."""
        if self.spent:
            return []
        self._left -= 1
        try:
            with open(file, "rb") as source:
                text = source.read(_MAX_SOURCE_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            return []
        starts = ("def ", "async def ")
        lines = [line for line in text.splitlines() if line.startswith(starts)]
        names = [line.partition("def ")[2].partition("(")[0].strip() for line in lines]
        return [name for name in names if name.isidentifier()]

    def mentions(self, file: str, words: set[str]) -> bool:
        """Whether a file of requirements names one of the distributions."""
        try:
            with open(file, "rb") as source:
                text = source.read(_MAX_SOURCE_BYTES).decode("utf-8", "replace").lower()
        except (OSError, ValueError):
            return False
        for line in text.splitlines():
            name = line.strip()
            for sign in "=<>!~[;# @":
                name = name.partition(sign)[0]
            if name.strip("\"', ").replace("_", "-").replace(".", "-") in words:
                return True
        return False

    def paths(self) -> list[str]:
        """The folders of sys.path, the first ones."""
        return [path for path in sys.path[:_MAX_PATHS] if isinstance(path, str)]

    def digest(self) -> list[dict[str, object]]:
        """What is on sys.path: path, whether it exists, and how many entries it has.

        `at_least` marks a folder that has more entries than were counted.
        """
        digest: list[dict[str, object]] = []
        for path in self.paths():
            exists = os.path.exists(path or ".")
            row: dict[str, object] = {"path": path[:512], "exists": exists}
            if exists and not os.path.isfile(path):
                row["entries"] = len(self.entries(path))
                if self.spent:
                    row["at_least"] = True
            digest.append(row)
        return digest


def native_machine() -> str:
    """What compiled files have to be built for, as `misfit_of` names it."""
    system = os.uname()
    return "macOS" if system.sysname == "Darwin" else system.machine


def misfit_of(file: str) -> str:
    """What a compiled file was built for, when that is not this machine and Python; else ""."""
    machine = _machine_of(file)
    if machine and machine != native_machine():
        return f"{machine}, and this is {native_machine()}"
    suffix = os.path.basename(file).partition(".")[2]
    if f".{suffix}" in extension_suffixes():
        return ""
    version = _version_of(suffix)
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version and version != own:
        return f"Python {version}, and this is Python {own}"
    if "musl" in suffix:
        return "musl (Alpine Linux), and this is not"
    return f"another kind of Python ({suffix.rpartition('.')[0]})"


def _machine_of(file: str) -> str:
    """The machine in the header of a compiled file; "" when it has none that is known."""
    try:
        with open(file, "rb") as compiled:
            head = compiled.read(20)
    except (OSError, ValueError):
        return ""
    if head.startswith(b"\x7fELF") and len(head) == 20:
        order = "big" if head[5] == 2 else "little"
        number = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]  # one of the two
        return _MACHINES.get(number, f"machine {number}")
    if head.startswith(_MACH_O):
        return "macOS"
    return "Windows" if head.startswith(b"MZ") else ""


def _version_of(suffix: str) -> str:
    """ "3.12" of cpython-312-x86_64-linux-gnu.so or cp312-win_amd64.pyd; "" without one."""
    tag = suffix.removeprefix("cpython-").removeprefix("cp").partition("-")[0].partition(".")[0]
    return f"{tag[0]}.{tag[1:]}" if tag.isdigit() and len(tag) > 1 else tag and _threaded(tag)


def _threaded(tag: str) -> str:
    digits = tag.removesuffix("t")
    if digits == tag or not digits.isdigit() or len(digits) < 2:
        return ""
    return f"{digits[0]}.{digits[1:]} without the global lock"
