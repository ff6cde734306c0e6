"""Starting the real extension process: what the platform may answer, where its files may lie."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from extension_fakes import EXECUTABLE, ExtensionProcess, FakePlatform, Function
from fake_collector import ENDPOINT, LIMIT_S, FakeCollector, traces
from lambdascope.wire import names

ROOT = EXECUTABLE.parents[2]
NOT_ALLOWED = b'{"errorType":"Extension.InvalidEventType","errorMessage":"INVOKE: not allowed"}'


def test_managed_instances(collector: FakeCollector, tmp_path: Path) -> None:
    """On managed instances only SHUTDOWN is registered; data is exported in the background."""
    variables = {
        ENDPOINT: collector.endpoint,
        names.ENV_INIT_TYPE: names.INIT_MANAGED_INSTANCES,
    }
    with FakePlatform() as platform, ExtensionProcess(platform, tmp_path, variables) as extension:
        platform.wait_next(1)
        assert {"events": ["SHUTDOWN"]} == platform.wait_registered()["body"]
        sender = extension.anybody()
        sender.post(names.TRACES_PATH, traces("a"))
        collector.wait_requests(1)
        platform.shut_down()
        assert 0 == extension.wait_exit()
        assert ["a"] == collector.spans


def test_invoke_that_is_not_allowed(tmp_path: Path) -> None:
    """Where INVOKE is refused the extension registers again for SHUTDOWN alone."""
    with (
        FakePlatform(register=((403, NOT_ALLOWED), (200, b"{}"))) as platform,
        ExtensionProcess(platform, tmp_path) as extension,
    ):
        platform.wait_next(1)
        assert {"events": ["SHUTDOWN"]} == platform.wait_registered(2)["body"]
        platform.shut_down()
        assert 0 == extension.wait_exit()


def test_register_that_is_refused(tmp_path: Path) -> None:
    """Who cannot register says so in one line and leaves nothing behind."""
    refusal = (403, b'{"errorType":"Extension.TooManyExtensions"}')
    with (
        FakePlatform(register=(refusal,)) as platform,
        ExtensionProcess(platform, tmp_path) as extension,
    ):
        assert 1 == extension.wait_exit()
        assert [True] == ["TooManyExtensions" in line for line in extension.lines]
        assert not extension.handoff_file.exists()


@pytest.mark.parametrize("address", ["", "nonsense:x", "127.0.0.1:1"])
def test_no_platform(tmp_path: Path, platform: FakePlatform, address: str) -> None:
    """Started by hand, or with a dead API, it says what it misses in one line and ends."""
    variables = {names.ENV_RUNTIME_API: address}
    with ExtensionProcess(platform, tmp_path, variables) as extension:
        assert 0 < extension.wait_exit()
        assert 1 == len(extension.lines)
        assert extension.lines[0].startswith("lambdascope: ")


def test_platform_that_goes_away(
    platform: FakePlatform, collector: FakeCollector, extension: ExtensionProcess
) -> None:
    """When the Extensions API is gone, what is held is exported and the process ends."""
    sender = extension.runtime()
    sender.post(names.TRACES_PATH, traces("a"))
    sender.close()
    platform.__exit__()
    assert 0 == extension.wait_exit()
    assert ["a"] == collector.spans
    assert [True] == ["Extensions API is gone" in line for line in extension.lines]


@pytest.mark.parametrize("status", [403, 500])
def test_next_that_is_refused(tmp_path: Path, platform: FakePlatform, status: int) -> None:
    """A platform that refuses next is not asked for ever."""
    platform.next_status = status
    with ExtensionProcess(platform, tmp_path) as extension:
        assert 0 == extension.wait_exit()
        assert str(status) in extension.lines[-1]


def test_platform_without_keep_alive(
    platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> None:
    """A platform that closes the connection with every answer is no failure."""
    platform.closes_connections = True
    with ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as extension:
        function = Function(platform, extension)
        for _ in range(3):
            function.invoke()
        assert "" == function.shut_down()
        assert ["r1", "r2", "r3"] == collector.spans


def test_port_in_use(tmp_path: Path, platform: FakePlatform) -> None:
    """With its port taken the extension listens elsewhere and says where."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = {names.ENV_OTLP_PORT: str(port)}
        with ExtensionProcess(platform, tmp_path, variables) as extension:
            platform.wait_next(1)
            actual, token = extension.rendezvous()
            assert actual != port
            assert 200 == extension.sender(actual, token).hello()
            assert f"port {port} is in use, listening on {actual}" in extension.lines[0]


def test_unwritable_rendezvous(tmp_path: Path, platform: FakePlatform) -> None:
    """Without its file the extension goes on, and says that the runtime will not find it."""
    (tmp_path / "handoff-directory").write_text("in the way")
    with ExtensionProcess(platform, tmp_path) as extension:
        platform.wait_next(1)
        assert "the runtime will not find the extension" in extension.lines[0]
        platform.shut_down()
        assert 0 == extension.wait_exit()


def test_name_is_that_of_the_file(tmp_path: Path, platform: FakePlatform) -> None:
    """Lambda knows an extension by its file's name, also when that is a link."""
    link = tmp_path / "another-name"
    link.symlink_to(EXECUTABLE)
    with ExtensionProcess(platform, tmp_path, executable=link):
        assert "another-name" == platform.wait_registered()[names.EXTENSION_NAME.lower()]
        platform.wait_next(1)


def layer(folder: Path) -> Path:
    """The executable in the layout of a layer under `folder`, which stands for /opt."""
    (folder / "extensions").mkdir(parents=True)
    shutil.copy(EXECUTABLE, folder / "extensions" / "lambdascope")
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("src/lambdascope", "extension/lambdascope_extension"):
        shutil.copytree(ROOT / package, folder / "python" / Path(package).name, ignore=ignore)
    return folder / "extensions" / "lambdascope"


def test_layer_layout(tmp_path: Path, platform: FakePlatform) -> None:
    """In a layer the packages lie in /opt/python."""
    with ExtensionProcess(platform, tmp_path, executable=layer(tmp_path / "opt")) as extension:
        platform.wait_next(1)
        platform.shut_down()
        assert 0 == extension.wait_exit()


def test_wheel_layout(tmp_path: Path, platform: FakePlatform) -> None:
    """In an installed wheel the executable lies inside its package."""
    layer(tmp_path / "opt")
    executable = tmp_path / "opt" / "python" / "lambdascope_extension" / "bin" / "lambdascope"
    executable.parent.mkdir()
    shutil.copy(EXECUTABLE, executable)
    with ExtensionProcess(platform, tmp_path, executable=executable) as extension:
        platform.wait_next(1)
        platform.shut_down()
        assert 0 == extension.wait_exit()


def test_incomplete_layer(tmp_path: Path) -> None:
    """Without its packages it says where it looked."""
    executable = tmp_path / "lambdascope"
    shutil.copy(EXECUTABLE, executable)
    done = subprocess.run(
        [sys.executable, "-IS", executable], capture_output=True, text=True, timeout=30, check=False
    )
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert done.stderr.startswith("lambdascope: No module named 'lambdascope_extension'; looked in")


def test_executed_directly(tmp_path: Path, platform: FakePlatform) -> None:
    """Executed as Lambda does, the file finds an interpreter by itself."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    environment = {
        "PATH": str(folder),
        names.ENV_RUNTIME_API: platform.address,
        names.ENV_OTLP_PORT: "0",
        names.ENV_HANDOFF_FILE: str(tmp_path / "handoff"),
    }
    process = subprocess.Popen([EXECUTABLE], env=environment)
    try:
        assert "lambdascope" == platform.wait_registered()[names.EXTENSION_NAME.lower()]
        platform.wait_next(1)
        platform.shut_down()
        assert 0 == process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.path.exists("/var/lang/bin/python3"), reason="this is a Lambda image")
def test_no_interpreter(tmp_path: Path) -> None:
    """Without any Python there is one line."""
    done = subprocess.run(
        [EXECUTABLE],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "add Python 3.11 or newer" in done.stderr
