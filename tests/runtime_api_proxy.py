"""A program that puts a proxy before the Runtime API and becomes the command that it is given.

`python runtime_api_proxy.py MODE COMMAND...`, as agents do it in a wrapper: the proxy listens on a
port of its own, wraps every event as {"proxied": event}, and passes the rest on. MODE is how it
answers: "closing" ends the connection with each answer (HTTP/1.0), "chunked" keeps it, writes
header names in lower case and bodies in chunks. It imports nothing of lambdascope.
"""

from __future__ import annotations

import http.client
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VARIABLE = "AWS_LAMBDA_RUNTIME_API"


class Proxy(BaseHTTPRequestHandler):
    """One connection of the runtime, with one behind it to the real API."""

    target = ""
    chunked = False

    def do_GET(self) -> None:
        """Pass it on."""
        self._pass_on(None)

    def do_POST(self) -> None:
        """Pass it on."""
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def _pass_on(self, body: bytes | None) -> None:
        connection = http.client.HTTPConnection(self.target)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if self.path.endswith("/next"):
            content = b'{"proxied": %b}' % content
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(name.lower() if self.chunked else name, value)
        if self.chunked:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in (content[:3], content[3:], b""):
                if piece:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def main(mode: str, command: list[str]) -> None:
    """Serve in a child that ends with this process, and become the command."""
    Proxy.target = os.environ[VARIABLE]
    Proxy.chunked = mode == "chunked"
    Proxy.protocol_version = "HTTP/1.1" if Proxy.chunked else "HTTP/1.0"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    watched, held = os.pipe()
    if os.fork() == 0:
        os.close(held)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.read(watched, 1)  # nothing comes: it ends when the other end is gone
        os._exit(0)
    os.set_inheritable(held, True)
    server.server_close()
    os.environ[VARIABLE] = f"127.0.0.1:{server.server_port}"
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
