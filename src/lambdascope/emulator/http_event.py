"""An HTTP request as the event that a function URL makes of it: payload format 2.0.

Pure: `function_url` has read the request. Header names are lower case, cookies stand in `cookies`
and in their header, bodies that are not text are in base64. Source: AWS Lambda developer guide,
"Invoking Lambda function URLs"; what it leaves open is as events of real function URLs show it.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.emulator.config import FunctionConfig

_TEXT_TYPES = ("application/json", "application/javascript", "application/xml")
_TEXT_SUFFIXES = ("+json", "+xml")


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A request as it came. `headers` have lower-case names; `port` is the one that it came to."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    source_ip: str
    port: int


def url_id(config: FunctionConfig) -> str:
    """The first label of the function's domain: the same for the same function."""
    return hashlib.sha256(config.function_arn.encode()).hexdigest()[:32]


def http_event(
    request: HttpRequest,
    config: FunctionConfig,
    *,
    request_id: str,
    trace_header: str,
    time_ns: int,
) -> dict[str, object]:
    """The event. `time_ns` is Unix time."""
    path, query = _split(request.target)
    domain_prefix = url_id(config)
    cookie = request.headers.get("cookie")
    event: dict[str, object] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
    }
    if cookie:
        event["cookies"] = [part.strip() for part in cookie.split(";") if part.strip()]
    event["headers"] = _headers(request, trace_header)
    if query:
        event["queryStringParameters"] = _parameters(query)
    event["requestContext"] = {
        "accountId": "anonymous",
        "apiId": domain_prefix,
        "domainName": f"{domain_prefix}.lambda-url.{config.region}.on.aws",
        "domainPrefix": domain_prefix,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time_ns // 1_000_000_000)),
        "timeEpoch": time_ns // 1_000_000,
    }
    return event | _body(request)


def _split(target: str) -> tuple[str, str]:
    """Path and query as they were sent."""
    if not target.startswith("/"):
        # The form that proxies are asked in, or the asterisk of OPTIONS.
        parts = urlsplit(target)
        return (parts.path if parts.path.startswith("/") else "/"), parts.query
    path, _, query = target.partition("#")[0].partition("?")
    return path, query


def _headers(request: HttpRequest, trace_header: str) -> dict[str, str]:
    """The request's, and those that Lambda adds; what a proxy before us says is believed."""
    added = {
        "x-forwarded-for": request.source_ip,
        "x-forwarded-port": str(request.port),
        "x-forwarded-proto": "http",
    }
    root = trace_header.partition(";")[0]
    return added | dict(request.headers) | {"x-amzn-trace-id": root}


def _parameters(query: str) -> dict[str, str]:
    """Decoded; the values of a repeated name joined by commas."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _body(request: HttpRequest) -> dict[str, object]:
    if not request.body:
        return {"isBase64Encoded": False}
    if _is_text(request.headers.get("content-type", "")):
        try:
            return {"body": request.body.decode("utf-8"), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}


def _is_text(content_type: str) -> bool:
    """Forms are not, which surprises many; a body without a type is, if it can be."""
    kind = content_type.partition(";")[0].strip().lower()
    return (
        not kind or kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(_TEXT_SUFFIXES)
    )
