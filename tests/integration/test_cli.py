"""The real command from end to end: what a person sees, what a pipe gets, what a script reads."""

from __future__ import annotations

import json
import re

import pytest

from cli_kit import function_in, lines_of, run_command
from lambdascope.emulator.sink import OtlpSink


@pytest.fixture
def folder(tmp_path):
    """The folder of a function."""
    return function_in(tmp_path)


REPORT = re.compile(
    r"^REPORT RequestId: [0-9a-f-]{36}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
    r"Memory Size: 128 MB\tMax Memory Used: \d+ MB(\tInit Duration: \d+\.\d\d ms)?$",
    re.MULTILINE,
)


def test_a_pipe_gets_the_answer_and_a_person_the_rest(folder):
    """Standard output is the answer and an end of line; standard error tells the story."""
    done = run_command(folder, "invoke", "app.handler", "-e", '{"order": 17}')
    shown = done.stderr.decode()
    assert done.returncode == 0, shown
    assert done.stdout == b'{"got": {"order": 17}, "left": true}\n'
    assert shown.startswith("handler app.handler   python 3.")
    assert 'saw {"order": 17}' in shown
    tree = shown[shown.index(" INIT   cold") :]
    for label in (
        "extension lambdascope",
        "interpreter start",
        "load handler",
        "import app",
        " INVOKE ",
        "app.handler",
        "report response",
        "not seen by the caller",
    ):
        assert label in tree, shown
    assert "remaining 2 9" in tree
    assert REPORT.search(tree).group(1)
    assert re.search(
        r"\$\d+\.\d\d per million like this \(list price, x86, us-east-1; \d+% is", tree
    )
    assert len(re.findall("^REPORT", shown, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("handler", "code", "error_type", "said"),
    [
        ("app.boom", 1, "ValueError", "function error: ValueError: no such order"),
        ("app.odd", 1, "Runtime.MarshalError", "function error: Runtime.MarshalError: "),
        ("app.slow", 2, "Sandbox.Timedout", "timed out after 1 s; still open: app.slow"),
        ("app.crash", 2, "Runtime.ExitError", "Runtime exited with error: exit status 7"),
        ("app.eat", 2, "Runtime.OutOfMemory", "killed at the memory limit of 128 MB"),
        ("app", 1, "Runtime.MalformedHandlerName", "hint: handler 'app' is not module.function"),
        ("ap.handler", 1, "Runtime.ImportModuleError", "did you mean app.handler?"),
        ("app.handlr", 1, "Runtime.HandlerNotFound", "Try app.handler"),
        ("bad.handler", 1, "Runtime.UserCodeSyntaxError", "init failed: Runtime.UserCodeSyntax"),
        ("needs.handler", 1, "Runtime.ImportModuleError", "-m pip install nowhere_to_be_found"),
        ("raises.handler", 1, "KeyError", "init failed: KeyError: 'setting'"),
    ],
)
def test_every_failure_has_its_answer_its_exit_code_and_one_clear_line(
    folder, handler, code, error_type, said
):
    """The answer is what AWS would give; the lines say what happened and what to try."""
    (folder / "bad.py").write_text("def handler(:\n")
    (folder / "needs.py").write_text("import nowhere_to_be_found\ndef handler(e, c): ...\n")
    (folder / "raises.py").write_text("raise KeyError('setting')\n")
    done = run_command(folder, "invoke", handler, "--timeout", "1", "-q")
    lines = lines_of(done)
    assert done.returncode == code, done.stderr.decode()
    assert json.loads(done.stdout)["errorType"] == error_type
    assert any(said in line for line in lines), lines
    assert len(lines) <= 2
    assert done.stderr.decode().splitlines() == lines


@pytest.mark.parametrize("content", ["{'a': 1}", "", "[1,"])
def test_an_event_that_is_not_json_starts_nothing(folder, content):
    """One line with the file, exit code 3, no output."""
    (folder / "event.json").write_text(content)
    done = run_command(folder, "invoke", "app.handler", "-e", "event.json")
    assert done.returncode == 3
    assert done.stdout == b""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(b"lambdascope: event.json is ")


def test_quiet_prints_nothing_but_the_answer(folder):
    """For scripts that read both streams."""
    done = run_command(folder, "invoke", "app.handler", "-q", "-e", "-", stdin=b"[1]")
    assert (done.returncode, done.stdout) == (0, b'{"got": [1], "left": true}\n')
    assert done.stderr == b""


def test_a_sample_event_has_the_shape_of_its_service(folder):
    """By its name alone."""
    done = run_command(folder, "invoke", "app.handler", "-q", "-e", "sqs")
    assert len(json.loads(done.stdout)["got"]["Records"]) == 3


def test_the_handler_is_guessed_and_said(folder):
    """Without a name the usual ones are tried."""
    done = run_command(folder, "invoke")
    assert done.returncode == 0
    assert "lambdascope: no handler given: taking app.handler" in lines_of(done)


def test_several_invocations_are_one_cold_and_the_rest_warm(folder):
    """Two trees, one line each for the others, and the median of the warm ones."""
    done = run_command(folder, "invoke", "app.handler", "-n", "4", "-e", "7")
    shown = done.stderr.decode()
    assert done.returncode == 0, shown
    assert done.stdout == b'{"got": 7, "left": true}\n' * 4
    assert re.findall(r"invocation (\d) of 4, (\w+)", shown) == [("1", "cold"), ("2", "warm")]
    assert shown.count(" INIT ") == 1
    assert re.findall(r"^ {3}([34])  warm  ", shown, re.MULTILINE) == ["3", "4"]
    assert "median of 3 warm: " in shown
    assert "2 log lines of these are not shown" in shown
    done = run_command(folder, "invoke", "app.handler", "-n", "3")
    assert "1 log line of these is not shown" in done.stderr.decode()


def test_what_was_lost_at_the_end_is_said_after_many_invocations(folder):
    """The extension's last line is about all of them, so it is not held back with their logs."""
    dead = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
    done = run_command(folder, "invoke", "app.handler", "-n", "3", "--env", dead)
    assert [line for line in lines_of(done) if "not everything got through" in line], done.stderr
    assert done.returncode == 0


def test_the_worst_invocation_decides_the_exit_code(folder):
    """A timeout resets the environment, and the next invocation is cold again."""
    done = run_command(folder, "invoke", "app.slow", "-n", "2", "--timeout", "0.3", "--json")
    assert done.returncode == 2
    found = json.loads(done.stdout)["invocations"]
    assert [one["status"] for one in found] == ["timeout", "timeout"]
    assert [one["cold"] for one in found] == [True, True]


def test_json_is_one_document_with_everything(folder):
    """Standard output is the document and nothing else; standard error is empty."""
    done = run_command(
        folder, "invoke", "app.handler", "-e", "[1]", "-n", "2", "--json", "--env", "A=b"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert (found["version"], found["exit_code"], found["hints"]) == (1, 0, [])
    assert found["function"]["handler"] == "app.handler"
    cold, warm = found["invocations"]
    assert (cold["cold"], warm["cold"]) == (True, False)
    assert cold["answer"] == {"got": [1], "left": True}
    phases = {phase["name"] for phase in cold["phases"]}
    assert {"init", "extension init", "runtime init", "invoke", "runtime overhead"} <= phases
    name = found["function"]["name"]
    spans = {span["name"]: span for span in cold["spans"]}
    assert {name, f"init {name}", f"report {name}", "load handler", "import app"} <= set(spans)
    assert {name, f"report {name}"} == {span["name"] for span in warm["spans"]}
    invoke = spans[name]
    assert invoke["attributes"]["faas.invocation_id"] == cold["request_id"]
    assert spans[f"report {name}"]["parent_span_id"] == invoke["span_id"]
    within = next(phase for phase in cold["phases"] if phase["name"] == "invoke")
    assert within["start_ms"] <= invoke["start_ms"]
    assert invoke["duration_ms"] <= within["duration_ms"]
    assert any("saw [1]" in line["text"] for line in cold["logs"])
    assert cold["report"]["init_duration_ms"] > 0
    assert warm["report"]["init_duration_ms"] is None


def test_snap_start_is_shown(folder):
    """The snapshot and the restore are in the tree and in the log, with the time that is billed."""
    done = run_command(folder, "invoke", "app.handler", "--snap-start", "--snapshot-pause", "0.05")
    shown = done.stderr.decode()
    assert done.returncode == 0, shown
    assert json.loads(done.stdout) == {"got": {}, "left": True}
    lines = shown.splitlines()
    order = ["INIT_START", "INIT_REPORT", "RESTORE_START", "RESTORE_REPORT", "START", "END"]
    order += [" INIT ", " RESTORE ", " INVOKE ", "REPORT"]
    found = [next(n for n, line in enumerate(lines) if line.startswith(word)) for word in order]
    assert sorted(found) == found, shown
    report = lines[found[-1]]
    assert "\tRestore Duration: " in report
    assert "\tBilled Restore Duration: " in report
    assert "Init Duration" not in report


def test_awss_own_runtime_client_runs_in_place_of_ours(folder, peer_python):
    """Phases come from the platform then, and there are no spans of the runtime."""
    arguments = ("invoke", "app.handler", "--python", str(peer_python), "-e", "1")
    done = run_command(folder, *arguments, "--runtime", "awslambdaric", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["function"]["runtime"][-2:] == ["awslambdaric", "app.handler"]
    (one,) = found["invocations"]
    assert one["answer"] == {"got": 1, "left": True}
    assert one["spans"] == []
    shown = run_command(
        folder, *arguments, "--runtime", f"{peer_python} -m awslambdaric {{handler}}"
    )
    assert shown.returncode == 0
    assert b"report response" not in shown.stderr
    assert b"   response " in shown.stderr


def test_without_an_extension_there_is_none(folder):
    """The platform's phases stay, and the runtime exports its spans by itself."""
    done = run_command(folder, "invoke", "app.handler", "--no-extension", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    assert found["function"]["extensions"] == []
    (one,) = found["invocations"]
    assert [phase["name"] for phase in one["phases"]] == [
        "init",
        "runtime init",
        "invoke",
        "runtime overhead",
        "shutdown",
    ]
    assert {"import app", "load handler"} <= {span["name"] for span in one["spans"]}


def test_a_file_that_is_not_executable_among_the_extensions_is_explained(folder):
    """The answer is AWS's, and the hint names the file."""
    (folder / "ext").mkdir()
    (folder / "ext" / "README").write_text("no program")
    done = run_command(folder, "invoke", "app.handler", "--extensions", "ext", "-q")
    assert done.returncode == 2
    assert json.loads(done.stdout)["errorType"] == "Extension.LaunchError"
    assert any("README is not executable" in line for line in lines_of(done))


def test_another_python_needs_no_installation_of_lambdascope(folder, peer_python):
    """The runtime comes along; the function meets the packages of that Python."""
    (folder / "app.py").write_text(
        "import boto3, sys\ndef handler(e, c): return [sys.prefix, boto3.__name__]\n"
    )
    done = run_command(folder, "invoke", "app.handler", "--python", str(peer_python), "-q")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [str(peer_python.parent.parent), "boto3"]


def test_a_collector_of_the_user_gets_the_spans_too(folder):
    """The endpoint may stand in the shell or in --env; headers go along."""
    collector = OtlpSink()
    collector.start()
    try:
        done = run_command(
            folder,
            "invoke",
            "app.handler",
            "--json",
            "--env",
            "OTEL_EXPORTER_OTLP_HEADERS=api-key=secret",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        (one,) = json.loads(done.stdout)["invocations"]
        arrived = {span["span_id"]: span["name"] for span in collector.spans()}
        shown = {span["span_id"] for span in one["spans"]}
        of_platform = {arrived[key] for key in set(arrived) - shown}
        assert shown <= set(arrived)
        assert {"platform init", "platform report"} == of_platform
        assert collector.received()[0].headers["api-key"] == "secret"
    finally:
        collector.close()


def test_a_collector_that_is_not_there_changes_nothing_but_a_line(folder):
    """The function's answer and the tree do not depend on it."""
    done = run_command(
        folder, "invoke", "app.handler", "-q", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"
    )
    lines = lines_of(done)
    assert done.returncode == 0
    assert json.loads(done.stdout)["left"]
    assert any("127.0.0.1:9" in line for line in lines), done.stderr
    assert done.stderr.decode().splitlines() == lines
