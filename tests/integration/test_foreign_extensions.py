"""Extensions of others beside ours: each sees every event, and none disturbs the other."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from observed import named, running
from otlp_recorder import OtlpRecorder

if TYPE_CHECKING:
    from pathlib import Path

ECHO = """
    def handler(event, context):
        return event
"""
# As the examples of AWS's documentation do it: the standard library, no package of ours.
PYTHON = f"""\
#!{sys.executable} -IS
import json, os, urllib.request

base = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2020-01-01/extension"

def call(path, body=None, **headers):
    headers = {{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(f"{{base}}/{{path}}", body, headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, json.load(answer)

events = json.dumps({{"events": ["INVOKE", "SHUTDOWN"]}}).encode()
headers, about = call("register", events, Lambda_Extension_Name=os.path.basename(__file__))
print("registered for", about["functionName"], flush=True)
me = headers["Lambda-Extension-Identifier"]
while True:
    _, event = call("event/next", Lambda_Extension_Identifier=me)
    print(json.dumps(event), flush=True)
    if event["eventType"] == "SHUTDOWN":
        break
"""
BASH = """\
#!/bin/bash
set -euo pipefail
base="http://${AWS_LAMBDA_RUNTIME_API}/2020-01-01/extension"
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
curl -sS -o /dev/null -D "$headers" -X POST "$base/register" \\
  -H "Lambda-Extension-Name: $(basename "$0")" -d '{"events": ["INVOKE", "SHUTDOWN"]}'
me=$(grep -i '^lambda-extension-identifier:' "$headers" | tr -d '[:space:]' | cut -d: -f2)
while true; do
  event=$(curl -sS "$base/event/next" -H "Lambda-Extension-Identifier: $me")
  echo "$event"
  if [[ $event == *SHUTDOWN* ]]; then exit 0; fi
done
"""
EXTENSIONS = {"third-party.py": PYTHON, "third-party.sh": BASH}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_beside_ours(name: str, tmp_path: Path) -> None:
    """It gets every INVOKE and the SHUTDOWN; the answers and all our spans arrive as well."""
    if name.endswith(".sh") and not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("bash and curl are not both on PATH")
    path = tmp_path / name
    path.write_text(textwrap.dedent(EXTENSIONS[name]))
    path.chmod(0o755)
    with (
        OtlpRecorder() as recorder,
        running(tmp_path, ECHO, endpoint=recorder.endpoint, extensions=(str(path),)) as function,
    ):
        records = [function.invoke(json.dumps(number).encode()) for number in range(3)]
        function.shutdown()
        spans = recorder.wait_for_spans(7)

    assert [b"0", b"1", b"2"] == [record.answer for record in records]
    seen = [
        json.loads(line.text)
        for line in function.lines.all
        if line.who == name and line.text.startswith("{")
    ]
    assert [*("INVOKE" for _ in records), "SHUTDOWN"] == [event["eventType"] for event in seen]
    ids = [record.request_id for record in records]
    assert ids == [event["requestId"] for event in seen[:-1]]
    assert ids == [span["attributes"]["faas.invocation_id"] for span in named(spans, "shop")]
    platform = function.lines.texts("platform")
    for extension in ("lambdascope", name):
        ready = f"EXTENSION\tName: {extension}\tState: Ready\tEvents: [INVOKE, SHUTDOWN]"
        assert ready in platform
