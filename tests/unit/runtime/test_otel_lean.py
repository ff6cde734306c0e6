"""The SDK is loaded without standard modules that it hardly uses; each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lambdascope.runtime.otel.lean import _RARELY_USED

SOURCE = Path(__file__).parents[3] / "src"

SET_UP = """
import json, sys
from types import ModuleType
sys.path[:0] = [SOURCE, FOLDER]
from lambdascope.runtime.config import RuntimeConfig
from lambdascope.runtime.otel.lean import Lean, _RARELY_USED
said = []
def load():
    from lambdascope.runtime.otel.sdk import Sdk
    config = RuntimeConfig.from_env({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9"}, ["", "app.handler"])
    return Sdk(config, said.append).load()
def loaded():
    return sorted(name for name in _RARELY_USED if name in sys.modules)
"""


def _run(folder: Path, code: str) -> object:
    """Run `code` after SET_UP and return the JSON value of its variable `result`."""
    prologue = f"SOURCE, FOLDER = {str(SOURCE)!r}, {str(folder)!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{prologue}{SET_UP}{code}\nprint(json.dumps(result))"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "" == done.stderr
    return json.loads(done.stdout)


def test_the_sdk_starts_without_them(tmp_path: Path) -> None:
    """A span can be made, and none of the modules has been loaded."""
    before, is_recording, after, problems = _run(
        tmp_path,
        """
before = loaded()
with load().get_tracer("x").start_as_current_span("one") as span:
    span.set_attribute("a", 1)
result = [before, span.get_span_context().is_valid, loaded(), said]
""",
    )

    assert [[], True, [], []] == [before, is_recording, after, problems]


def test_the_sdk_finds_them_when_it_uses_them(tmp_path: Path) -> None:
    """What the SDK does with them works: detectors of resources, pools of threads, random ids."""
    pid, os_type, host, key, is_id, is_flushed, loaded_now = _run(
        tmp_path,
        """
provider = load()
from opentelemetry.sdk import resources, trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
import os
os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "key=a%20b"
detectors = [resources.ProcessResourceDetector(), resources.OsResourceDetector(),
             resources.OTELResourceDetector()]
found = resources.get_aggregated_resources(detectors).attributes
host = resources._HostResourceDetector().detect().attributes["host.name"]
pooled = trace.ConcurrentMultiSpanProcessor()
pooled.add_span_processor(trace.SpanProcessor())
result = [found["process.pid"] == os.getpid(), found["os.type"],
          host == resources.socket.gethostname(), found["key"],
          RandomIdGenerator().generate_span_id() > 0, pooled.force_flush(), loaded()]
""",
    )

    assert [True, "linux", True, "a b", True, True] == [
        *(pid, os_type, host),
        *(key, is_id, is_flushed),
    ]
    assert {"concurrent.futures", "random", "socket", "urllib.parse"} <= set(loaded_now)


def test_who_imports_them_later_gets_the_modules(tmp_path: Path) -> None:
    """After the SDK has been loaded, every way to import gives the real module, in its package."""
    kinds, in_packages, is_same, name = _run(
        tmp_path,
        """
load()
import concurrent.futures, datetime, random, socket, subprocess, urllib.parse
from urllib import parse
from concurrent.futures import ThreadPoolExecutor
real = [sys.modules[name] for name in _RARELY_USED]
from opentelemetry.sdk import resources
result = [[type(module) is ModuleType for module in real],
          [concurrent.futures in real, urllib.parse in real, parse in real],
          resources.socket.socket is socket.socket,
          ThreadPoolExecutor.__module__]
""",
    )

    assert [True] * len(_RARELY_USED) == kinds
    assert [True] * 3 == in_packages
    assert is_same
    assert "concurrent.futures.thread" == name


def test_who_asks_their_packages_gets_the_modules(tmp_path: Path) -> None:
    """The packages of submodules have the real ones too, for whoever asks them and no one before,
    and for any other name they say what Python says."""
    kinds, missing, expected = _run(
        tmp_path,
        """
load()
from urllib import parse
import concurrent
is_real = [type(parse) is ModuleType, type(concurrent.futures) is ModuleType]
def says(module):
    try:
        module.nothing
    except AttributeError as error:
        return str(error)
    return [hasattr(module, "nothing")]
import json
result = [is_real, says(concurrent), says(json).replace("json", "concurrent")]
""",
    )

    assert [True, True] == kinds
    assert expected == missing


def test_what_is_loaded_already_stays(tmp_path: Path) -> None:
    """Modules that the function has loaded are what the SDK gets."""
    is_real, are_stand_ins = _run(
        tmp_path,
        """
import socket
load()
from opentelemetry.sdk import resources
result = [resources.socket is socket, type(resources.subprocess) is not ModuleType]
""",
    )

    assert [True, True] == [is_real, are_stand_ins]


def test_nothing_is_put_where_another_thread_might_find_it(tmp_path: Path) -> None:
    """While a second thread runs, the SDK is loaded as it is."""
    kind = _run(
        tmp_path,
        """
import threading
over = threading.Event()
other = threading.Thread(target=over.wait)
other.start()
load()
over.set(); other.join()
from opentelemetry.sdk import resources
result = type(resources.socket) is ModuleType
""",
    )

    assert kind is True


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("from socket import AF_INET as got", "2"),
        ("from socket import *; got = AF_INET", "2"),
        ("import concurrent.futures.thread as module; got = module.__name__", None),
        ("from urllib.parse import quote; got = quote(' ')", "%20"),
        ("import urllib.parse; got = urllib.parse.quote(' ')", "%20"),
        ("import datetime\nclass Day(datetime.date): pass\ngot = Day(2026, 1, 2)", "2026-01-02"),
        ("import random; got = 'randint' in dir(random)", "True"),
        ("import random; random.own = 5; got = random.own", "5"),
        ("import random; random.own = 5; del random.own; got = hasattr(random, 'own')", "False"),
        ("import socket; got = socket.__file__.endswith('.py')", "True"),
    ],
)
def test_all_that_a_module_does_at_its_start(
    tmp_path: Path, statement: str, expected: str | None
) -> None:
    """Whatever an SDK of another version asks for while it is loaded, it gets from the module."""
    (tmp_path / "older.py").write_text(f"{statement}\n")

    got, kinds = _run(
        tmp_path,
        """
with Lean():
    import older
import concurrent.futures, datetime, random, socket, subprocess, urllib.parse
kinds = [type(sys.modules[name]) is ModuleType for name in _RARELY_USED]
result = [str(older.got).rpartition("AF_INET: ")[2].strip("<>"), kinds]
""",
    )

    assert (expected or "concurrent.futures.thread") == got
    assert [True] * len(_RARELY_USED) == kinds


def test_an_import_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the SDK cannot be loaded, the names are free again."""
    (tmp_path / "broken.py").write_text("import socket, subprocess\n1 / 0\n")

    left = _run(
        tmp_path,
        """
try:
    with Lean():
        import broken
except ZeroDivisionError:
    result = loaded()
""",
    )

    assert [] == left
