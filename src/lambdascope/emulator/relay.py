"""Passes OTLP requests on to the user's own collector and its answers back.

`sink` uses it, from many threads. Body and headers go as they came, so that the sender sees what it
would see without us. Knows HTTP, nothing of spans. `requests` is imported when the first relay is
made: it brings proxies and certificates, and takes its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lambdascope.wire.names import HANDOFF_HEADER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

_BAD_GATEWAY = 502
_CONNECT_S = 3.0
# Those of one connection (RFC 9110, 7.6.1), and those that the new request gets of its own.
_OF_THE_HOP = (
    *("connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade", "content-length", "expect", "host"),
)
_PASSED_BACK = ("Content-Type", "Content-Encoding", "Retry-After")


@dataclass(frozen=True, kw_only=True)
class RelayAnswer:
    """What the sender gets. `reached` is False when the collector gave no answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    reached: bool = True


class Relay:
    """Posts to the URLs in `urls` (path of the signal -> whole URL)."""

    def __init__(self, urls: Mapping[str, str], *, timeout_s: float) -> None:
        import requests

        self._urls = dict(urls)
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.headers.clear()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Without one, requests would add credentials of its own finding, from a .netrc file.
        self._session.auth = _as_it_is

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> RelayAnswer:
        """The collector's answer, or 502 with the address and the reason."""
        import requests

        url = self._urls.get(path)
        if url is None:
            return _failure(f"no collector is configured for {path}")
        if not url.lower().startswith(("http://", "https://")):
            # The words of `requests` for it would show the password.
            return _failure(
                f"cannot reach the collector at {shown(url)}: the address must begin with http://"
                " or https://"
            )
        try:
            with self._session.post(
                url,
                data=body,
                headers=_passed_on(headers),
                timeout=(_CONNECT_S, self._timeout_s),
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = answer.raw.read(decode_content=False)
                back = [(k, answer.headers[k]) for k in _PASSED_BACK if k in answer.headers]
                return RelayAnswer(status=answer.status_code, headers=tuple(back), body=content)
        except (requests.RequestException, OSError) as error:
            return _failure(f"cannot reach the collector at {shown(url)}: {_reason(error)}")

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()


def shown(url: str) -> str:
    """A URL as it may be printed: without user name, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme and parts.netloc:
        return f"{parts.scheme}://{host}{parts.path}"
    # No URL at all: without its scheme, nothing tells where a password would end.
    return url.rpartition("@")[2].partition("?")[0]


def _failure(text: str) -> RelayAnswer:
    headers = (("Content-Type", "text/plain; charset=utf-8"),)
    return RelayAnswer(
        status=_BAD_GATEWAY, headers=headers, body=f"{text}\n".encode(), reached=False
    )


def _passed_on(headers: Mapping[str, str]) -> dict[str, str | bytes]:
    # Header values are text in UTF-8 here, and bytes for requests, which would take Latin-1.
    return {
        name: value.encode()
        for name, value in headers.items()
        if name not in _OF_THE_HOP and not name.startswith(HANDOFF_HEADER_PREFIX)
    }


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it several times."""
    import requests

    if isinstance(error, requests.ReadTimeout):
        return "no answer in time"
    reason = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
        inner = getattr(cause, "reason", None) or next(iter(cause.args), None)
        nested = inner if isinstance(inner, BaseException) else None
        cause = nested or cause.__cause__ or cause.__context__
    return reason
