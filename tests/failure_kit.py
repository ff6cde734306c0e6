"""What the tests of broken environments share: a runtime that dies where it is told to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambdascope.emulator.records import InvocationRecord


def error_of(record: InvocationRecord) -> tuple[str, str]:
    """Type and message of what the caller got, the request id cut off."""
    assert "Unhandled" == record.function_error
    fields = json.loads(record.answer)
    prefix = f"RequestId: {record.request_id} Error: "
    return fields["errorType"], fields["errorMessage"].removeprefix(prefix)


# Says where it is and stops there when the event (or, in init, the variable) says so.
STATIONS = """
from raw import *
def station(name, wanted):
    if wanted == name:
        say("at", name)
        block()
wanted = os.environ.get("STOP", "")
station("init", wanted)
def escape():
    import subprocess
    code = "import signal; signal.pause()"
    child = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    say("pids", child.pid)
while True:
    request_id, headers, body = next_event()
    wanted = body.decode()
    station("handler", wanted)
    if wanted == "escaped":
        escape()
        station("escaped", wanted)
    if wanted == "response":
        sock = socket.create_connection(API.split(":"))
        sock.sendall(request("POST", f"{RUNTIME}invocation/{request_id}/response", b"x" * 9)[:-5])
        station("response", wanted)
    respond(request_id, body)
    station("overhead", wanted)
"""
