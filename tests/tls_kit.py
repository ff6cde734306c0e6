"""TLS for tests: a certificate authority, certificates of it, a front for a server, and a proxy.

All keys are made by openssl for one test run and live in its folder. The front takes TLS and passes
bytes on; the proxy takes CONNECT as companies' proxies do, and keeps what it was asked for.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Self

from fake_collector import LIMIT_S

if TYPE_CHECKING:
    from pathlib import Path

HAS_OPENSSL = shutil.which("openssl") is not None
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"


class Authority:
    """A certificate authority in a folder. `file` is what has to be trusted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = folder / "ca.key"
        self.file = folder / "ca.pem"
        openssl("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=test authority",
                "-addext", "keyUsage=critical,keyCertSign",
                "-keyout", self._key, "-out", self.file)  # fmt: skip

    def certificate(self, name: str, names: str = _NAMES, days: int = 2) -> tuple[Path, Path]:
        """A certificate, for 127.0.0.1 and localhost or other names, and its key."""
        file, key, request = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"{names}\nauthorityKeyIdentifier=keyid\n")
        openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key,
                "-CAcreateserial", "-days", days, "-extfile", extensions,
                "-out", file)  # fmt: skip
        return file, key


def openssl(*arguments: object) -> str:
    """What the command prints; AssertionError where it fails."""
    command = ["openssl", *(str(one) for one in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout


class _Pipes:
    """A listener whose connections are passed on. `endpoint` is what it is reached by."""

    scheme = "http"

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self.port = self._server.getsockname()[1]

    @property
    def endpoint(self) -> str:
        """The base URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(raw,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            client, target = self._connected(raw)
        except OSError:
            raw.close()
            return
        back = threading.Thread(target=_copy, args=(target, client))
        back.start()
        _copy(client, target)
        back.join(LIMIT_S)
        client.close()
        target.close()

    def _connected(self, raw: socket.socket) -> tuple[socket.socket, socket.socket]:
        raise NotImplementedError


class TlsFront(_Pipes):
    """Takes TLS for a server on loopback; with `clients` only from those that it signed.

    `context` is the server's.
    """

    scheme = "https"

    def __init__(
        self, target: str, certificate: tuple[Path, Path], clients: Authority | None = None
    ) -> None:
        super().__init__()
        self._target = _address(target)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        if clients is not None:
            self.context.load_verify_locations(clients.file)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.peers: list[str] = []

    def _connected(self, raw: socket.socket) -> tuple[socket.socket, socket.socket]:
        client = self.context.wrap_socket(raw, server_side=True)
        subject = dict(pair[0] for pair in (client.getpeercert() or {}).get("subject", ()))
        self.peers.append(subject.get("commonName", ""))
        return client, socket.create_connection(self._target)


class ConnectProxy(_Pipes):
    """A proxy that opens tunnels to `target`, whatever host is asked for. `asked` holds those."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = _address(target)
        self.asked: list[str] = []

    def _connected(self, raw: socket.socket) -> tuple[socket.socket, socket.socket]:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = raw.recv(1)
            if not byte:
                raise OSError("no request")
            head += byte
        self.asked.append(head.split(b" HTTP/", 1)[0].decode())
        target = socket.create_connection(self._target)
        raw.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return raw, target


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.partition("://")[2].partition(":")
    return host, int(port)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # one side is gone, and so is the other in a moment
    for one in (source, sink):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was closed by its peer
