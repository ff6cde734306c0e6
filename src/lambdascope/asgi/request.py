"""An event as the HTTP request that it stands for: ASGI scope and body.

Four shapes: API Gateway's payload formats 1.0 (REST, HTTP) and 2.0 (HTTP), function URLs, which use
2.0, and load balancers. Pure. Sources: API Gateway developer guide, "Create AWS Lambda proxy
integrations"; Application Load Balancer guide, "Lambda functions as targets"; ASGI, HTTP message
format 2.4.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

from lambdascope.asgi.fields import (
    bare_value,
    entries,
    mapping,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

V1, V2, ALB = "1.0", "2.0", "alb"
ASGI_VERSION = {"version": "3.0", "spec_version": "2.4"}
_PORTS = {"http": 80, "https": 443}
# Everything that may stand in a path or a query as it is, percent signs included.
_SAFE = "/%:@!$&'()*+,;=~?-._"

Headers = list[tuple[str, str]]


class Request:
    """One request. `shape` is the event's; `base_path` is a path that a custom domain maps here.

    Raises ValueError that names what is wrong when the event is not a request.
    """

    def __init__(self, event: object, *, base_path: str = "") -> None:
        self.shape = shape_of(event)
        assert isinstance(event, dict)  # noqa: S101 - else it has no shape
        self.event: dict[str, Any] = event
        self._around = mapping(event, "requestContext")
        self._http = mapping(self._around, "http") if self.shape == V2 else {}
        self.headers = _headers(event)
        self._first: dict[str, str] = {}
        for name, value in self.headers:
            self._first.setdefault(name, value)
        self.body = _body(event)
        self._base_path = base_path
        domain = self._around.get("domainName")
        self._domain = domain if isinstance(domain, str) else ""

    @property
    def has_lists(self) -> bool:
        """Whether headers come, and are expected, as lists of values."""
        return self.shape == V1 or (self.shape == ALB and "multiValueHeaders" in self.event)

    @property
    def of_function_url(self) -> bool:
        """Whether it came through a function URL, whose domain nobody can change."""
        return self.shape == V2 and ".lambda-url." in self._domain

    def scope(self, context: object) -> dict[str, Any]:
        """A new ASGI scope; `context` is the handler's second argument."""
        given, root_path = self._path()
        headers = [(_bytes(name), _bytes(value)) for name, value in self.headers]
        return {
            "type": "http",
            "asgi": dict(ASGI_VERSION),
            "http_version": self._http_version(),
            "method": self._method(),
            "scheme": self._scheme(),
            "path": unquote(given),
            "raw_path": quote(given, safe=_SAFE, errors="replace").encode(),
            "query_string": quote(self._query(), safe=_SAFE, errors="replace").encode(),
            "root_path": unquote(root_path),
            "headers": headers,
            "server": self._server(),
            "client": self._client(),
            "aws.event": self.event,
            "aws.context": context,
        }

    def _method(self) -> str:
        name = "method" if self.shape == V2 else "httpMethod"
        return text(self._http if self.shape == V2 else self.event, name).upper()

    def _http_version(self) -> str:
        where = self._http if self.shape == V2 else self._around
        name, _, version = str(where.get("protocol") or "").partition("/")
        return version if name == "HTTP" and version in ("1.0", "1.1", "2") else "1.1"

    def _path(self) -> tuple[str, str]:
        """The whole path as it was sent, and the part of it that leads to the application."""
        path = text(self.event, "rawPath" if self.shape == V2 else "path") or "/"
        for prefix in (self._base_path, self._stage()):
            if prefix and (path == prefix or path.startswith(prefix + "/")):
                return path, prefix
        if self.shape == V1:
            # REST: the stage is in this path alone.
            whole = self._around.get("path")
            if isinstance(whole, str) and len(whole) > len(path) and whole.endswith(path):
                return whole, whole.removesuffix(path)
        return path, ""

    def _stage(self) -> str:
        """What the stage puts in front of the path; nothing behind a custom domain.

        REST APIs leave it out of the path, HTTP APIs do not.
        """
        stage = self._around.get("stage")
        of_http_api = self.event.get("version") in (V1, V2) and ".execute-api." in self._domain
        return f"/{stage}" if of_http_api and isinstance(stage, str) else ""

    def _query(self) -> str:
        if self.shape == V2:
            return text(self.event, "rawQueryString", default="")
        name = "multiValueQueryStringParameters"
        pairs = entries(self.event, name if self.event.get(name) else "queryStringParameters")
        if self.shape == ALB:
            # The load balancer does not decode them.
            return "&".join(f"{name}={value}" for name, value in pairs)
        return urlencode(pairs, errors="replace")

    def _scheme(self) -> str:
        given = self._first.get("x-forwarded-proto", "").lower()
        return given if given in _PORTS else "https"

    def _server(self) -> tuple[str, int]:
        given = self._first.get("host", "") or self._domain
        host, colon, port = given.rpartition(":")
        if not colon or "]" in port:
            host, port = given, self._first.get("x-forwarded-port", "")
        known = port.isascii() and port.isdecimal() and len(port) <= 5
        return host or "lambda", int(port) if known else _PORTS[self._scheme()]

    def _client(self) -> tuple[str, int] | None:
        if self.shape == ALB:
            # The last one is what the load balancer has seen itself.
            found: object = self._first.get("x-forwarded-for", "").rpartition(",")[2].strip()
        elif self.shape == V2:
            found = self._http.get("sourceIp")
        else:
            found = mapping(self._around, "identity").get("sourceIp")
        return (found, 0) if isinstance(found, str) and found else None


def shape_of(event: object) -> str:
    """V1, V2 or ALB. Raises ValueError for an event that is no HTTP request."""
    if not isinstance(event, dict):
        raise ValueError(f"the event is a {type(event).__name__}, not an HTTP request")
    around = event.get("requestContext")
    if isinstance(around, dict):
        if isinstance(around.get("elb"), dict):
            return ALB
        if isinstance(around.get("http"), dict):
            return V2
        if "httpMethod" in event:
            return V1
    raise ValueError(
        "the event is not an HTTP request of API Gateway, a function URL or a load balancer "
        f"(its fields: {', '.join(str(name)[:40] for name in list(event)[:8]) or 'none'})"
    )


def _headers(event: Mapping[str, Any]) -> Headers:
    name = "multiValueHeaders" if event.get("multiValueHeaders") else "headers"
    found = [(key.lower(), value) for key, value in entries(event, name)]
    cookies = texts(event, "cookies")
    if cookies:
        found = [pair for pair in found if pair[0] != "cookie"]
        found.append(("cookie", "; ".join(cookies)))
    return found


def _body(event: Mapping[str, Any]) -> bytes:
    body = bare_value(event, "body", str)
    if body is None:
        return b""
    if not event.get("isBase64Encoded"):
        return body.encode("utf-8", "replace")
    try:
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"the event's body is not base64: {error}") from None


def _bytes(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")
