"""The command as a process: signals, readers that leave, and `lambdascope serve`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from cli_kit import command_line, environ_of_user, function_in, run_command


@pytest.fixture
def folder(tmp_path):
    """The folder of a function."""
    return function_in(tmp_path)


@pytest.fixture
def start(folder):
    """Starts the command without waiting for it; what still runs at the end is terminated."""
    started = []

    def start_command(*arguments):
        process = subprocess.Popen(
            command_line(*arguments),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ_of_user(),
            text=True,
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=20)


def _pid_of_the_function(process):
    for line in process.stderr:
        found = re.search(r"pid (\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError("the function did not start")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_takes_the_environment_with_it(start, number, code):
    """Ctrl-C and SIGTERM end the function's processes, too."""
    process = start("invoke", "app.slow", "--timeout", "50")
    pid = _pid_of_the_function(process)
    process.send_signal(number)
    _, shown = process.communicate(timeout=20)
    assert process.returncode == code
    assert shown.splitlines()[-1] in ("lambdascope: interrupted", "lambdascope: terminated")
    assert not Path(f"/proc/{pid}").exists()


def test_a_reader_that_leaves_is_no_traceback(folder):
    """`lambdascope invoke | true` ends with one line."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            command_line("invoke", "app.handler", "-q"),
            cwd=folder,
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=50,
            env=environ_of_user(),
        )
    finally:
        os.close(write)
    assert done.returncode == 3
    assert done.stderr == (
        b"lambdascope: standard output was closed before the answer was written\n"
    )


@pytest.fixture
def served(start):
    """A function behind an endpoint; its URL and the process."""
    process = start("serve", "app.handler", "--name", "shop")
    return process.stdout.readline().strip(), process


def test_the_example_that_is_printed_works(folder, served, aws_command):
    """The aws command invokes the function with it, without credentials."""
    _, process = served
    said = next(line for line in process.stderr if line.startswith("invoke it with: aws "))
    arguments = said.removeprefix("invoke it with: aws ").split()
    done = subprocess.run(
        [aws_command, *arguments],
        cwd=folder,
        capture_output=True,
        timeout=50,
        env=environ_of_user(),
    )
    assert done.returncode == 0, done.stderr
    assert b'{"got": {}, "left": true}' in done.stdout
    assert b'"StatusCode": 200' in done.stdout


def test_serve_prints_two_urls_on_standard_output_and_ends_well(start):
    """SIGTERM is its ordinary end; a script can read the URLs, and curl the second."""
    process = start("serve", "app.handler")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", process.stdout.readline())
    site = process.stdout.readline()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", site)
    with urllib.request.urlopen(site.strip(), timeout=20) as answer:
        assert json.loads(answer.read())["got"]["rawPath"] == "/"
    process.terminate()
    rest, shown = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    # What to do stands in front of whatever the environment writes.
    facts, aws, curl, *_ = shown.splitlines()
    assert facts.startswith("handler app.handler ")
    assert aws.startswith("invoke it with: aws lambda invoke --endpoint-url http://127.0.0.1:")
    assert curl == f"or with HTTP:   curl -N {site.strip()}"


def test_a_port_in_use_is_one_line_that_names_it(folder, served):
    """And nothing is started."""
    port = served[0].rpartition(":")[2]
    done = run_command(folder, "serve", "app.handler", "--port", port)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(f"lambdascope: port {port} is in use".encode())
    assert len(done.stderr.splitlines()) == 1
