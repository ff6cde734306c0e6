"""An extension of the emulator's tests: it subscribes to telemetry and prints what it gets."""

from __future__ import annotations

# An extension that subscribes before its first next, and prints every batch and every event it
# gets. Its own output is not among what it subscribes to, so that it does not answer itself.
LISTENER = """
from raw import *
import threading

def serve():
    while True:
        peer, _ = server.accept()
        with peer, peer.makefile("rb") as stream:
            length = 0
            while (line := stream.readline().strip().lower()):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            batch = json.loads(stream.read(length))
            peer.sendall(b"HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n")
        for item in batch:
            say("got", json.dumps(item))
        with changed:
            seen.extend(item["type"] for item in batch)
            changed.notify()

seen = []
changed = threading.Condition()
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, daemon=True).start()
me = register(os.path.basename(sys.argv[0]), "INVOKE", "SHUTDOWN")
body = {
    "schemaVersion": "2025-01-29",
    "types": ["platform", "function"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {
        "protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.getsockname()[1]}/"},
}
status, _, answer = call("PUT", "/2022-07-01/telemetry", json.dumps(body).encode(),
    Lambda_Extension_Identifier=me)
say("subscribed", status, answer.decode())
invoked = 0
while True:
    event = next_extension_event(me)
    invoked += event["eventType"] == "INVOKE"
    say("event", event["eventType"], event.get("shutdownReason", ""))
    if event["eventType"] == "SHUTDOWN":
        # The last telemetry comes within the shutdown's budget.
        with changed:
            changed.wait_for(lambda: status != 200 or seen.count("platform.report") == invoked)
        sys.exit(0)
"""
