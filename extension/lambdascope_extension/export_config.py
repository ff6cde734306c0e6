"""Where telemetry is sent and how, from the standard OTEL_EXPORTER_OTLP_* variables.

LAMBDASCOPE_OTLP_ENDPOINT is the address for the extension alone: then a stock SDK in the function,
which reads the standard ones too, can have us there. Read once, after register. Pure: the
environment comes as a mapping. Nothing here opens a connection or prints; what is wrong becomes a
line in `problems`, which never holds the value of a header.
Source: OpenTelemetry specification, "OTLP Exporter Configuration".
"""

from __future__ import annotations

import posix

from lambdascope.wire import names
from lambdascope_extension.destination import (
    DEFAULT_HOLD_S,
    DEFAULT_TIMEOUT_S,
    HEADERS,
    Destination,
    ExportConfig,
    Secret,
)
from lambdascope_extension.flush_settings import number
from lambdascope_extension.ledger import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "DEFAULT_HOLD_S",
    "DEFAULT_TIMEOUT_S",
    "Destination",
    "ExportConfig",
    "parse_headers",
    "read_export_config",
    "unquote",
]

_PREFIX = names.OTLP_ENV_PREFIX
# The specification counts the time-out in ms, the Python SDK in seconds: nobody waits 1000 s.
_LEAST_MS = 1000
_HTTP_PROTOBUF = "http/protobuf"
_HTTP_JSON = "http/json"
_GRPC = "grpc"
_LOOPBACK_HOSTS = ("localhost", "::1", "0.0.0.0", "ip6-localhost")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdefABCDEF")


def read_export_config(
    environ: Mapping[str, str],
    *,
    own_port: int,
    is_readable: Callable[[str], bool] = lambda path: posix.access(path, posix.R_OK),
) -> ExportConfig:
    """Read the variables. `own_port` is our own receiver's, which may not be the destination."""
    config = ExportConfig()
    for signal in SIGNALS:
        reader = _Reader(environ, signal, config.problems)
        destination = reader.destination(own_port, is_readable)
        if destination is None:
            config.reasons[signal] = reader.reason
        else:
            config.destinations[signal] = destination
    if "no_endpoint" in config.reasons.values() and not config.destinations:
        config.problems.append(
            f"no {names.ENV_OTLP_ENDPOINT}: telemetry is counted and dropped; set it to the "
            "address of an OTLP/HTTP receiver, such as http://collector:4318"
        )
    config.hold_s = _hold_s(environ, config.problems)
    # The general variables are read once for each signal.
    config.problems = list(dict.fromkeys(config.problems))
    return config


class _Reader:
    """Reads the variables of one signal; the signal's own ones win over the general ones."""

    __slots__ = ("_environ", "_problems", "_signal", "reason")

    def __init__(self, environ: Mapping[str, str], signal: str, problems: list[str]) -> None:
        self._environ = environ
        self._signal = signal
        self._problems = problems
        self.reason = "no_endpoint"

    def _endpoint(self) -> tuple[str, str]:
        own = self._environ.get(names.ENV_EXTENSION_ENDPOINT, "").strip()
        return (names.ENV_EXTENSION_ENDPOINT, own) if own else self.get("ENDPOINT")

    def get(self, suffix: str) -> tuple[str, str]:
        """The variable that counts and its value, "" when both are unset or empty."""
        for name in (f"{_PREFIX}{self._signal.upper()}_{suffix}", f"{_PREFIX}{suffix}"):
            value = self._environ.get(name, "").strip()
            if value:
                return name, value
        return f"{_PREFIX}{suffix}", ""

    def destination(self, own_port: int, is_readable: Callable[[str], bool]) -> Destination | None:
        """The destination; None with `reason` set when there is none or it is refused."""
        name, endpoint = self._endpoint()
        if not endpoint:
            return None
        try:
            destination = self._parsed(name, endpoint)
            if is_own(endpoint, own_port):
                raise _Wrong(
                    f"{name} is this extension's own receiver, port {own_port}: telemetry would go "
                    "round in a circle and is dropped; name the collector that it should reach "
                    f"with {names.ENV_EXTENSION_ENDPOINT}, which is for the extension alone"
                )
            self._read_tls(destination, is_readable)
        except _Wrong as error:
            self._problems.append(str(error))
            self.reason = "config"
            return None
        self._read_headers(destination)
        destination.timeout_s = self._timeout_s()
        destination.gzip = self._gzip()
        return destination

    def _parsed(self, endpoint_name: str, endpoint: str) -> Destination:
        name, protocol = self.get("PROTOCOL")
        if endpoint_name == names.ENV_EXTENSION_ENDPOINT and protocol == _HTTP_JSON:
            protocol = _HTTP_PROTOBUF  # how the function's SDK speaks to us
        if protocol not in ("", _HTTP_PROTOBUF, _GRPC):
            raise _Wrong(
                f"{name} {protocol!r} is not supported, {_what(name, self._signal)} dropped: use "
                f"{_HTTP_PROTOBUF} and the receiver's HTTP port (4318), or {_GRPC} and 4317"
            )
        is_grpc = protocol == _GRPC
        if is_grpc and "://" not in endpoint:
            is_insecure = self.get("INSECURE")[1].lower() == "true"
            endpoint = f"{'http' if is_insecure else 'https'}://{endpoint}"
        destination = parse_endpoint(endpoint_name, endpoint, self._signal)
        if is_grpc:
            # The path of a gRPC request is that of the service.
            destination.is_grpc = True
            scheme, _, rest = destination.url.partition("://")
            destination.url = destination.shown = f"{scheme}://{rest.partition('/')[0]}"
        return destination

    def _read_headers(self, destination: Destination) -> None:
        name, text = self.get("HEADERS")
        headers, wrong = parse_headers(text)
        if wrong:
            self._problems.append(
                f"{name}: {wrong} of its entries left out, they are not of the form "
                "name=value,name=value with percent-encoded values"
            )
        for header, value in headers.items():
            destination.set_header(header, value)
        secret = self._environ.get(names.ENV_HEADERS_SECRET, "").strip()
        if secret:
            destination.secrets[""] = Secret(secret, how=HEADERS)

    def _timeout_s(self) -> float:
        name, text = self.get("TIMEOUT")
        if not text:
            return DEFAULT_TIMEOUT_S
        value = number(text)
        if value is None or value <= 0:
            self._problems.append(f"{name} {text!r} is no time: using {DEFAULT_TIMEOUT_S:g} s")
            return DEFAULT_TIMEOUT_S
        if value >= _LEAST_MS:
            self._problems.append(
                f"{name} {text!r} is taken as milliseconds: give seconds, {value / 1000:g}"
            )
            return value / 1000
        return value

    def _gzip(self) -> bool:
        name, text = self.get("COMPRESSION")
        if text not in ("", "none", "gzip"):
            self._problems.append(f"{name} {text!r} is not known, sending plain: use gzip or none")
        return text == "gzip"

    def _read_tls(self, destination: Destination, is_readable: Callable[[str], bool]) -> None:
        ca_name, ca = self.get("CERTIFICATE")
        if not ca:
            # What OpenSSL itself goes by, and `requests` does not.
            ca_name = names.ENV_SSL_CERT_FILE
            ca = self._environ.get(ca_name, "").strip()
        cert_name, cert = self.get("CLIENT_CERTIFICATE")
        key_name, key = self.get("CLIENT_KEY")
        for name, path in ((ca_name, ca), (cert_name, cert), (key_name, key)):
            # Falling back to weaker checks would be worse than no telemetry.
            if path and not is_readable(path):
                what = _what(name, self._signal)
                raise _Wrong(f"{name} {path!r} cannot be read: {what} dropped")
        if key and not cert:
            what = _what(key_name, self._signal)
            raise _Wrong(f"{key_name} is set without {cert_name}: {what} dropped")
        destination.verify = ca or True
        destination.cert = ((cert, key) if key else cert) if cert else None


class _Wrong(Exception):
    """A value that makes the destination unusable; the text is the line to print."""


def parse_endpoint(name: str, endpoint: str, signal: str) -> Destination:
    """A URL to a destination; `name` is the variable it stood in. Raises _Wrong.

    A general endpoint gets `/v1/<signal>`, a signal's own is used as it is. User and password in
    the URL become a header, so that no message about the URL can show them.
    """
    scheme, found, rest = endpoint.partition("://")
    scheme = scheme.lower()
    authority, slash, path = rest.partition("/")
    userinfo, _, host = authority.rpartition("@")
    shown = f"{scheme}://{host}" if found else f"of {len(endpoint)} characters"
    if not found or scheme not in ("http", "https"):
        what = _what(name, signal)
        raise _Wrong(f"{name} {shown} does not begin with http:// or https://: {what} dropped")
    port = _port_of(host, scheme)
    if port is None or any(char <= " " or char in "?#" for char in host):
        raise _Wrong(f"{name} {shown} names no host and port: {_what(name, signal)} dropped")
    path = slash + path
    if name in (names.ENV_OTLP_ENDPOINT, names.ENV_EXTENSION_ENDPOINT):
        path = f"{path.rstrip('/')}/v1/{signal}"
    url = f"{scheme}://{host}{path or '/'}"
    destination = Destination(signal=signal, url=url, shown=url.partition("?")[0], port=port)
    if userinfo:
        from binascii import b2a_base64  # a shared library that hardly anybody needs

        credentials = b2a_base64(unquote(userinfo), newline=False)
        destination.headers["authorization"] = b"Basic " + credentials
    return destination


def _what(name: str, signal: str) -> str:
    """What suffers from a mistake in a variable: one signal, or all when it is a general one."""
    return f"{signal} are" if signal.upper() in name else "telemetry is"


def parse_headers(text: str) -> tuple[dict[str, bytes], int]:
    """`k=v,k=v` with percent-encoded values to lower-case names and bytes, and how many were wrong.

    Values with control characters are wrong: a line break would be an injection.
    """
    headers: dict[str, bytes] = {}
    wrong = 0
    for entry in text.split(","):
        if not entry.strip():
            continue
        name, equals, value = entry.partition("=")
        name = name.strip()
        raw = unquote(value.strip())
        if equals and name and _TOKEN.issuperset(name) and not any(b < 32 or b == 127 for b in raw):
            headers[name.lower()] = raw
        else:
            wrong += 1
    return headers, wrong


def unquote(text: str) -> bytes:
    """Percent-decode; what is no escape stays as it is."""
    first, *parts = text.split("%")
    out = bytearray(first.encode("utf-8", "replace"))
    for part in parts:
        if len(part) >= 2 and _HEX.issuperset(part[:2]):
            out.append(int(part[:2], 16))
            out += part[2:].encode("utf-8", "replace")
        else:
            out += b"%" + part.encode("utf-8", "replace")
    return bytes(out)


def _port_of(host: str, scheme: str) -> int | None:
    """The port of `host[:port]`, the scheme's default without one, None when it is malformed."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, "443" if scheme == "https" else "80"
    if ("[" in name) != name.endswith("]"):
        return None
    if not name or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        return None
    return int(port)


def is_own(url: str, own_port: int) -> bool:
    """Whether it is our own receiver, which listens on loopback.

    Under another name that leads there it refuses what we send, by a header of ours.
    """
    scheme, found, rest = url.lower().rpartition("://")
    authority = rest.partition("/")[0].rpartition("@")[2]
    if _port_of(authority, scheme if found else "http") != own_port:
        return False
    if authority.startswith("["):
        host = authority[1:].partition("]")[0]
    else:
        host = authority.partition(":")[0]
    return host in _LOOPBACK_HOSTS or (
        host.startswith("127.") and host.replace(".", "").isdecimal()
    )


def _hold_s(environ: Mapping[str, str], problems: list[str]) -> float:
    text = environ.get(names.ENV_HOLD_BUDGET, "").strip()
    value = number(text) if text else DEFAULT_HOLD_S * 1000
    if value is None or value < 0:
        problems.append(
            f"{names.ENV_HOLD_BUDGET} {text!r} is no number of milliseconds: "
            f"using {DEFAULT_HOLD_S * 1000:g}"
        )
        value = DEFAULT_HOLD_S * 1000
    return value / 1000
