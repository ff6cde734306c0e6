"""Signature Version 4: what makes AWS take a request, from hmac and hashlib alone.

Loaded in the exporter's thread for destinations and secrets of AWS. Pure: the time comes as an
argument. AWS's own library does the same after importing for hundreds of milliseconds. Source: AWS
Identity and Access Management user guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from time import gmtime, strftime

from lambdascope_extension.export_config import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ALGORITHM = "AWS4-HMAC-SHA256"
_LAST = "aws4_request"
_UNRESERVED = frozenset(b"-_.~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_IN_PATHS = _UNRESERVED | {ord("/")}
DATE = "x-amz-date"
TOKEN = "x-amz-security-token"  # noqa: S105 - the name of a header


class Credentials:
    """Who signs. `token` is "" for lasting keys, `expires` a wall time in s, 0 for never."""

    __slots__ = ("expires", "key_id", "secret", "token")

    def __init__(self, key_id: str, secret: str, *, token: str = "", expires: float = 0.0) -> None:
        self.key_id = key_id
        self.secret = secret
        self.token = token
        self.expires = expires


class Signer:
    """Signs for one service in one region."""

    __slots__ = ("credentials", "region", "service")

    def __init__(self, credentials: Credentials, *, service: str, region: str) -> None:
        self.credentials = credentials
        self.service = service
        self.region = region

    def sign(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        now: float,
        method: str = "POST",
    ) -> dict[str, str]:
        """The headers to add to a request. `headers`, with names in lower case, are signed with it.

        `now` is wall time in seconds; AWS takes a request for five minutes.
        """
        moment = strftime("%Y%m%dT%H%M%SZ", gmtime(now))
        added = {DATE: moment}
        if self.credentials.token:
            added[TOKEN] = self.credentials.token
        signed = {**headers, **added}
        request = _canonical(method, url, signed, body)
        place = f"{moment[:8]}/{self.region}/{self.service}/{_LAST}"
        text = f"{_ALGORITHM}\n{moment}\n{place}\n{sha256(request.encode()).hexdigest()}"
        key = b"AWS4" + self.credentials.secret.encode()
        for part in place.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        added["authorization"] = (
            f"{_ALGORITHM} Credential={self.credentials.key_id}/{place}, "
            f"SignedHeaders={';'.join(sorted({*signed, 'host'}))}, Signature={signature}"
        )
        return added


def _canonical(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    """The text of a request that is the same for whoever signs and whoever checks."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    authority, _, target = rest.partition("/")
    path, _, query = f"/{target}".partition("?")
    signed = {**headers, "host": _host(scheme, authority)}
    lines = [f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed)]
    return "\n".join(
        (
            method,
            # Every service but S3 expects the path encoded once more than it is in the request.
            quoted(path.encode(), _IN_PATHS),
            _query(query),
            "".join(lines),
            ";".join(sorted(signed)),
            sha256(body).hexdigest(),
        )
    )


def _host(scheme: str, netloc: str) -> str:
    """The Host header as HTTP clients write it: without the scheme's own port."""
    return netloc.removesuffix(":443" if scheme == "https" else ":80")


def _query(query: str) -> str:
    pairs = []
    for pair in query.split("&") if query else []:
        name, _, value = pair.partition("=")
        pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quoted(unquote(text))  # a plus is a plus for AWS, not a space


def quoted(raw: bytes, safe: frozenset[int] = _UNRESERVED) -> str:
    """Percent-encoded but for what is `safe`; `urllib.parse` would load `re` for it."""
    return "".join(chr(one) if one in safe else f"%{one:02X}" for one in raw)
