"""Times every import; runs in processes of their own, on every supported Python of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import peers

SOURCE = Path(__file__).parents[3] / "src"
PYTHONS = {sys.version_info[:2]: Path(sys.executable)} | peers.interpreters()

SET_UP = """
import json, sys
sys.path[:0] = [SOURCE, FOLDER]
from lambdascope.runtime import import_times
from lambdascope.runtime.import_times import ImportTimes
import_times.MIN_TOTAL_NS = MIN
times = ImportTimes()
before = sys.modules["_frozen_importlib"]._find_and_load
times.install()
hooked = sys.modules["_frozen_importlib"]._find_and_load is not before
def by_name():
    return {r.name: r for r in times.records}
def path(record):
    return [record.name] + (path(record.parent) if record.parent else [])
"""


@pytest.fixture(params=PYTHONS.values(), ids=[f"{a}.{b}" for a, b in PYTHONS])
def python(request: pytest.FixtureRequest) -> Path:
    """Each supported interpreter of this machine."""
    return request.param


def _run(python: Path, folder: Path, code: str, *, min_ns: int = 0) -> object:
    """Run `code` after SET_UP and return the JSON value of its variable `result`."""
    prologue = f"SOURCE, FOLDER, MIN = {str(SOURCE)!r}, {str(folder)!r}, {min_ns}\n"
    done = subprocess.run(
        [python, "-I", "-c", f"{prologue}{SET_UP}{code}\nprint(json.dumps(result))"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "" == done.stderr
    return json.loads(done.stdout)


def test_tree_and_self_times(python: Path, tmp_path: Path) -> None:
    """An import knows what caused it; its self time is its total without nested ones."""
    (tmp_path / "a.py").write_text("import b, c\n")
    (tmp_path / "b.py").write_text("import time; time.sleep(0.03); import c\n")
    (tmp_path / "c.py").write_text("import time; time.sleep(0.02)\n")

    hooked, paths, self_ms, total_ms, order = _run(
        python,
        tmp_path,
        """
import a
found = by_name()
result = [hooked, {n: path(found[n]) for n in "abc"}, {n: found[n].self_ns / 1e6 for n in "abc"},
          {n: (found[n].end_ns - found[n].start_ns) / 1e6 for n in "abc"},
          [r.name for r in times.records if r.name in "abc"]]
""",
    )

    assert hooked
    assert {"a": ["a"], "b": ["b", "a"], "c": ["c", "b", "a"]} == paths
    assert ["c", "b", "a"] == order
    assert total_ms["a"] >= 50
    assert total_ms["b"] >= 50
    assert total_ms["c"] >= 20
    assert total_ms["a"] - total_ms["b"] == pytest.approx(self_ms["a"], abs=0.01)
    assert total_ms["b"] - total_ms["c"] == pytest.approx(self_ms["b"], abs=0.01)
    assert total_ms["c"] == pytest.approx(self_ms["c"], abs=0.01)


def test_short_imports_are_left_out(python: Path, tmp_path: Path) -> None:
    """Only imports that took long enough are kept, and what is loaded already is not timed."""
    (tmp_path / "slow.py").write_text("import time, quick; time.sleep(0.03)\n")
    (tmp_path / "quick.py").write_text("")

    names = _run(
        python,
        tmp_path,
        "import slow, quick, sys; result = [r.name for r in times.records]",
        min_ns=25_000_000,
    )

    assert ["slow"] == names


def test_what_the_runtime_imports_for_itself(python: Path, tmp_path: Path) -> None:
    """It and what it needs are none of the function's; what modules of the function need is."""
    (tmp_path / "app.py").write_text("import lambdascope.runtime.serde\n")
    names = _run(
        python,
        tmp_path,
        "import lambdascope.runtime.stacks, app\nresult = sorted(by_name())",
    )
    assert {"app", "lambdascope.runtime.serde"} <= set(names)
    assert not {"lambdascope.runtime.stacks", "traceback"} & set(names)


def test_c_extension(python: Path, tmp_path: Path) -> None:
    """The loading of a shared library is counted, not only Python code."""
    name, is_shared = _run(
        python,
        tmp_path,
        """
import importlib.util
for name in ("_testbuffer", "_decimal", "_sqlite3", "_zoneinfo", "_json", "_csv"):
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is not None and spec.origin and spec.origin.endswith(".so"):
        __import__(name)
        break
result = [name, name in by_name() and by_name()[name].self_ns > 0]
""",
    )

    assert is_shared, name


def test_threads_do_not_nest(python: Path, tmp_path: Path) -> None:
    """An import in a thread has no parent in another thread that imports at the same time."""
    (tmp_path / "outer.py").write_text(
        "import threading\n"
        "done = threading.Thread(target=lambda: __import__('inner'))\n"
        "done.start(); done.join()\n"
    )
    (tmp_path / "inner.py").write_text("import innermost\n")
    (tmp_path / "innermost.py").write_text("")

    paths = _run(
        python,
        tmp_path,
        "import outer; result = [path(by_name()[n]) for n in ('outer', 'inner', 'innermost')]",
    )

    assert [["outer"], ["inner"], ["innermost", "inner"]] == paths


def test_threads_that_import_at_the_same_time(python: Path, tmp_path: Path) -> None:
    """Each thread has a tree of its own, whose self times add up to its total, none negative."""
    for one in "ab":
        (tmp_path / f"{one}1.py").write_text(f"import meet\nimport shared, {one}2\n")
        (tmp_path / f"{one}2.py").write_text(f"import meet; meet.barrier.wait()\nimport {one}3\n")
        (tmp_path / f"{one}3.py").write_text("import meet; meet.barrier.wait()\n")
    (tmp_path / "shared.py").write_text("from time import sleep\nsleep(0.01)\n")
    (tmp_path / "meet.py").write_text("import threading\nbarrier = threading.Barrier(2)\n")

    paths, sums, negative = _run(
        python,
        tmp_path,
        """
import meet, threading
times.records.clear()
threads = [threading.Thread(target=__import__, args=(name,)) for name in ("a1", "b1")]
for thread in threads: thread.start()
for thread in threads: thread.join()
found = by_name()
own = {tree: [r for r in times.records if path(r)[-1] == tree] for tree in ("a1", "b1")}
result = [[path(found[n]) for n in ("a3", "b3")],
          [sum(r.self_ns for r in own[tree]) == found[tree].end_ns - found[tree].start_ns
           for tree in own],
          [r.name for r in times.records if r.self_ns < 0]]
""",
    )

    assert [["a3", "a2", "a1"], ["b3", "b2", "b1"]] == paths
    assert [[True, True], []] == [sums, negative]


CLOCK = """
import builtins
builtins.clock = [0]
import_times.monotonic_ns = lambda: clock[0]
def ms():
    return {r.name: [r.self_ns / 1e6, (r.end_ns - r.start_ns) / 1e6] for r in times.records}
"""


def test_each_step_of_a_compiled_module_is_its_own(python: Path, tmp_path: Path) -> None:
    """The search, the loading of the library, which creates the module, and its execution count."""
    (tmp_path / "app.py").write_text("clock[0] += 1_000_000\nimport compiled\n")

    found = _run(
        python,
        tmp_path,
        CLOCK
        + """
from importlib.machinery import ModuleSpec
class Loader:
    def create_module(self, spec): clock[0] += 20_000_000
    def exec_module(self, module): clock[0] += 3_000_000
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "compiled":
            clock[0] += 5_000_000
            return ModuleSpec(name, Loader())
sys.meta_path.insert(0, Finder())
import app
result = [ms(), path(by_name()["compiled"])]
""",
        min_ns=1,
    )

    assert [{"compiled": [28, 28], "app": [1, 29]}, ["compiled", "app"]] == found


def test_every_way_to_import(python: Path, tmp_path: Path) -> None:
    """By name at run time, relative, of a part of a package, and in a circle: each once."""
    package = tmp_path / "shop"
    (package / "parts").mkdir(parents=True)
    step = "clock[0] += 1_000_000\n"
    (package / "__init__.py").write_text(step)
    (package / "parts/__init__.py").write_text(step + "from . import relative\n")
    (package / "parts/relative.py").write_text(step + "from ..circle import two\n")
    (package / "circle.py").write_text(step + "from shop import parts\nimport by_name\ntwo = 2\n")
    (tmp_path / "by_name.py").write_text(step)
    (tmp_path / "app.py").write_text(
        step + "import importlib\nimportlib.import_module('shop.parts')\n"
        "importlib.import_module('.circle', 'shop')\n"
    )

    found, parents, order = _run(
        python,
        tmp_path,
        CLOCK
        + """
import app
result = [ms(), {r.name: path(r)[1:2] for r in times.records}, [r.name for r in times.records]]
""",
        min_ns=1,
    )

    assert {
        "shop": [1, 1],
        "by_name": [1, 1],
        "shop.circle": [1, 2],
        "shop.parts.relative": [1, 3],
        "shop.parts": [1, 5],
        "app": [1, 6],
    } == found
    assert ["shop.parts"] == parents["shop"]
    assert ["shop.circle"] == parents["by_name"]
    assert len(set(order)) == len(order)


def test_an_import_that_ends_before_what_it_contains(python: Path, tmp_path: Path) -> None:
    """Greenlets of one thread may end in any order: no time is counted twice or below nothing."""
    found = _run(
        python,
        tmp_path,
        CLOCK
        + """
first = times._begin("first"); clock[0] = 1_000_000
second = times._begin("second"); clock[0] = 3_000_000
times._end(first); clock[0] = 10_000_000
times._end(second)
result = ms()
""",
    )

    assert {"first": [1, 3], "second": [9, 9]} == found


def test_imports_that_end_in_another_order(python: Path, tmp_path: Path) -> None:
    """Where one thread mixes imports, as greenlets do, nothing is left behind on the stack."""
    parents = _run(
        python,
        tmp_path,
        """
first, second = times._begin("first"), times._begin("second")
times._end(first); times._end(second)
third = times._begin("third"); times._end(third)
result = [r.parent and r.parent.name for r in (first, second, third)]
""",
    )

    assert [None, "first", None] == parents


FAILING = """
import traceback
def text(name):
    try:
        __import__(name)
    except BaseException:
        return traceback.format_exc()
with_hook = [text(n) for n in ("fails", "nested", "missing", "syntax", "leaves")]
times.remove()
for name in ("fails", "nested", "syntax", "leaves"):
    sys.modules.pop(name, None)
result = [with_hook, [text(n) for n in ("fails", "nested", "missing", "syntax", "leaves")]]
"""


def test_tracebacks_have_no_frame_of_ours(python: Path, tmp_path: Path) -> None:
    """A failed import has the same traceback with and without the hook."""
    (tmp_path / "fails.py").write_text("1 / 0\n")
    (tmp_path / "nested.py").write_text("import fails\n")
    (tmp_path / "syntax.py").write_text("def (:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")

    with_hook, without = _run(python, tmp_path, FAILING)

    assert without == with_hook
    assert "import_times" not in "".join(with_hook)
    assert "ZeroDivisionError" in with_hook[1]


def test_warnings_name_the_importing_line(python: Path, tmp_path: Path) -> None:
    """A warning at import with stacklevel=2 still points at the import statement."""
    (tmp_path / "old.py").write_text("import warnings; warnings.warn('old', stacklevel=2)\n")
    (tmp_path / "user.py").write_text("import old\n")

    files = _run(
        python,
        tmp_path,
        """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import user
result = [w.filename.rpartition("/")[2] for w in caught]
""",
    )

    assert ["user.py"] == files


def test_failed_imports_are_timed(python: Path, tmp_path: Path) -> None:
    """An import that raises has a record, and what comes after is not under it."""
    (tmp_path / "fails.py").write_text("1 / 0\n")
    (tmp_path / "fine.py").write_text("")

    paths = _run(
        python,
        tmp_path,
        """
try:
    import fails
except ZeroDivisionError:
    import fine
result = [path(by_name()["fails"]), path(by_name()["fine"])]
""",
    )

    assert [["fails"], ["fine"]] == paths


def test_removed(python: Path, tmp_path: Path) -> None:
    """After removal CPython's own function is back and nothing is recorded any more."""
    (tmp_path / "late.py").write_text("")

    restored, names = _run(
        python,
        tmp_path,
        """
times.remove(); times.remove()
import late
result = [sys.modules["_frozen_importlib"]._find_and_load is before, list(by_name())]
""",
    )

    assert restored
    assert "late" not in names


def test_removed_under_somebody_elses_hook(python: Path, tmp_path: Path) -> None:
    """When another tool has wrapped ours it stays, and ours goes quiet."""
    (tmp_path / "late.py").write_text("")

    kept, seen, names = _run(
        python,
        tmp_path,
        """
machinery = sys.modules["_frozen_importlib"]
ours, seen = machinery._find_and_load, []
def theirs(name, import_):
    seen.append(name)
    return ours(name, import_)
machinery._find_and_load = theirs
times.remove()
import late
result = [machinery._find_and_load is theirs, seen, list(by_name())]
""",
    )

    assert kept
    assert "late" in seen
    assert "late" not in names


def test_missing_hook(python: Path, tmp_path: Path) -> None:
    """Where CPython does not have the private name, nothing is timed and nothing breaks."""
    (tmp_path / "late.py").write_text("")

    names = _run(
        python,
        tmp_path,
        """
times.remove()
times = ImportTimes()
saved = sys.modules["_frozen_importlib"]
class Empty: pass
sys.modules["_frozen_importlib"] = Empty()
times.install(); times.remove()
sys.modules["_frozen_importlib"] = saved
import late
result = list(by_name())
""",
    )

    assert [] == names


def test_longest_are_kept(python: Path, tmp_path: Path) -> None:
    """Of too many imports the longest stay, so that each keeps what contains it."""
    count, dropped, first, has_outer, ordered = _run(
        python,
        tmp_path,
        """
import_times.MAX_RECORDS = 50
outer = times._begin("outer")
for number in range(500):
    times._end(times._begin(f"m{number}"))
times._end(outer)
times.remove()
ends = [r.end_ns for r in times.records]
result = [len(times.records), times.dropped > 400, times.records[-1].name, "outer" in by_name(),
          ends == sorted(ends)]
""",
    )

    assert [50, True, "outer", True, True] == [count, dropped, first, has_outer, ordered]
