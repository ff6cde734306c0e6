"""The endpoint from which a function with SnapStart has its credentials.

Keys in environment variables would be old when a snapshot is restored, so there are none: SDKs find
the endpoint by AWS_CONTAINER_CREDENTIALS_FULL_URI and show the token that lies beside it. Path,
fields and answers are those that AWS's Runtime Interface Emulator gives with --enable-init-caching.
"""

from __future__ import annotations

import hmac
import json
import time
import uuid
from typing import TYPE_CHECKING

from lambdascope.emulator.times import iso_time
from lambdascope.emulator.variables import DEFAULT_CREDENTIALS
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.transport.listener import Exchange

_VALID_S = 6 * 3600
_FIELDS = ("AccessKeyId", "SecretAccessKey", "Token")
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_REFUSED = b"cannot get credentials for the provided token\n"


class Credentials:
    """Hands out the keys among the function's `variables`, or such that no service accepts."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.token = str(uuid.uuid4())
        given = {name: variables[name] for name in DEFAULT_CREDENTIALS if name in variables}
        # All of one kind: keys of a person beside a session token of ours would never work.
        found = given or DEFAULT_CREDENTIALS
        self._fields = {
            field: found[name]
            for field, name in zip(_FIELDS, DEFAULT_CREDENTIALS, strict=True)
            if name in found
        }

    def answer(self, exchange: Exchange) -> None:
        """Answer a GET; 404 without the right token, as AWS's server does."""
        shown = exchange.headers.get("authorization", "").encode()
        if not hmac.compare_digest(shown, self.token.encode()):
            exchange.respond(404, (_TEXT,), _REFUSED)
            return
        until_ns = time.time_ns() + _VALID_S * 1_000_000_000
        body = json.dumps({**self._fields, "Expiration": iso_time(until_ns)}).encode()
        exchange.respond(names.OK, (_TEXT,), body)
