"""Calls to AWS with `requests`: through proxies, and with what else our own connections refuse.

Loaded by `aws_http` with the first such call, over sockets that the main thread can cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import HTTPError

from lambdascope_extension.open_sockets import OpenSockets, cuttable_session

if TYPE_CHECKING:
    from lambdascope_extension.aws_http import Call

_CONNECT_S = 1.0
_NO_PROXIES = {"http": "", "https": "", "all": ""}


class RequestsCalls:
    """`verify` is what `requests` takes."""

    def __init__(self, verify: str | bool) -> None:
        self._verify = verify
        self._sockets = OpenSockets()

    def allow(self) -> None:
        """Calls may be made again."""
        self._sockets.allow()

    def cut(self) -> None:
        """End the call that is under way, and let none begin; from another thread."""
        self._sockets.cut()

    def answer(self, call: Call, limit: int) -> tuple[int, bytes]:
        """The status and up to `limit` bytes of the body. Raises OSError."""
        proxies: Any = _NO_PROXIES if call.direct else None
        with cuttable_session(self._sockets) as session:
            response = session.request(
                call.method,
                call.url,
                headers=call.headers,
                data=call.body,
                timeout=(min(_CONNECT_S, call.timeout_s), call.timeout_s),
                proxies=proxies,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            )
            try:
                return response.status_code, response.raw.read(limit, decode_content=True)
            except HTTPError as error:  # the body is cut off
                raise requests.ConnectionError(error) from None
            finally:
                response.close()
