"""Sends one batch at a time with `requests`: TLS, proxies, keep-alive, one retry of a dead socket.

It lives in the exporter's thread; importing it there is what loads `requests`, which would
otherwise cost the function's init ten times the extension's own start. Only `cut` is called by the
main thread. It decides nothing: what became of a batch goes back as a Result.
"""

from __future__ import annotations

import zlib
from http.client import HTTPException, RemoteDisconnected
from socket import gaierror
from ssl import SSLError
from time import monotonic
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from lambdascope import __version__
from lambdascope.wire import names
from lambdascope_extension.answers import (
    CLOSED,
    CUT,
    EXPORTED,
    NOT_HTTP,
    REFUSED,
    RETRY,
    SLOW,
    UNKNOWN_NAME,
    Result,
    from_response,
    hint_for,
    is_about_key,
    retry_after,
)
from lambdascope_extension.open_sockets import OpenSockets, cuttable_session

if TYPE_CHECKING:
    from lambdascope_extension.exporter import Job

_CONNECT_S = 1.0
_MAX_ANSWER_BYTES = 65_536
# The fastest level: a batch of 100 kB shrinks to a tenth in about a ms.
_GZIP_LEVEL = 1
_GZIP_FRAME = 16 + 15
_MAX_CAUSES = 10


class Sender:
    """One session. `send` may be called again and again; a connection is kept between the calls."""

    def __init__(self) -> None:
        self._sockets = OpenSockets()
        self._session = cuttable_session(self._sockets)
        self._has_connection = False

    def cut(self) -> None:
        """End the `send` that is under way, now; it returns a Result all the same."""
        self._sockets.cut()

    def send(self, job: Job) -> Result:
        """Export a batch. Raises nothing but what is a fault of ours."""
        started = monotonic()
        self._sockets.allow()
        if job.is_cut:
            return Result(CUT)
        if job.wants_new_connection:
            self._drop_connections()
        try:
            result = self._try(job, started)
        except requests.RequestException as error:
            self._drop_connections()
            result = self._failure(job, error)
        except OSError as error:  # a certificate file that cannot be loaded
            result = Result(
                REFUSED, reason=_text(error), hint=f"check {names.ENV_OTLP_CERTIFICATE}"
            )
        result.elapsed = monotonic() - started
        return result

    def close(self) -> None:
        """Close the connections that are kept."""
        self._drop_connections()

    def _try(self, job: Job, started: float) -> Result:
        reused, self._has_connection = self._has_connection, False
        try:
            return self._post(job, job.timeout_s)
        except requests.ConnectionError:
            left = job.timeout_s - (monotonic() - started)
            # A kept connection may have died while all was frozen; a new one tells the truth.
            if not reused or job.is_cut or left <= 0:
                raise
            self._drop_connections()
            return self._post(job, left)

    def _post(self, job: Job, timeout_s: float) -> Result:
        destination, batch = job.destination, job.batch
        headers: dict[str, str | bytes] = {
            **destination.headers,
            "content-type": batch.kind,
            "user-agent": f"lambdascope/{__version__}",
            names.BATCH_ID: batch.id,
        }
        body = batch.body
        if destination.gzip:
            deflater = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FRAME)
            body = deflater.compress(body) + deflater.flush()
            headers["content-encoding"] = "gzip"
        if destination.sign is not None:
            headers |= destination.sign({"content-type": batch.kind}, body)
        response = self._session.post(
            destination.url,
            data=body,
            headers=headers,
            timeout=(min(_CONNECT_S, timeout_s), timeout_s),
            allow_redirects=False,
            stream=True,
            verify=destination.verify,
            cert=destination.cert,
        )
        answer = _read(response)
        self._has_connection = True
        result = from_response(
            response.status_code,
            response.reason or "",
            answer,
            is_json=names.CONTENT_TYPE_JSON in response.headers.get("content-type", batch.kind),
        )
        if result.outcome != EXPORTED:
            result.hint = (destination.hint if is_about_key(result) else "") or result.hint
            result.retry_after = retry_after(response.headers.get("retry-after", ""))
        return result

    def _failure(self, job: Job, error: requests.RequestException) -> Result:
        if job.is_cut:
            return Result(CUT)
        reason, hint = explain(error, port=job.destination.port)
        is_retryable = isinstance(error, (requests.ConnectionError, requests.Timeout))
        return Result(RETRY if is_retryable else REFUSED, reason=reason, hint=hint)

    def _drop_connections(self) -> None:
        self._session.close()
        self._has_connection = False


def _read(response: requests.Response) -> bytes:
    """The body of an answer, or its beginning; a broken one does not undo the status."""
    answer = b""
    try:
        for piece in response.iter_content(8192):
            answer += piece
            if len(answer) > _MAX_ANSWER_BYTES:
                response.close()
                break
    except requests.RequestException:
        response.close()
    return answer


def explain(error: BaseException, *, port: int) -> tuple[str, str]:
    """Why an export failed and what to do, without any text that a peer or a URL put there."""
    root = _root(error)
    if isinstance(root, (HTTPException, ConnectionResetError, BrokenPipeError)):
        # RemoteDisconnected is both a reset and an HTTPException.
        is_garbage = isinstance(root, HTTPException) and not isinstance(root, RemoteDisconnected)
        reason = NOT_HTTP if is_garbage else CLOSED
    elif isinstance(root, SSLError):
        return _text(root), f"check {names.ENV_OTLP_CERTIFICATE} and the https:// address"
    elif isinstance(root, (TimeoutError, PoolTimeoutError)) or isinstance(error, requests.Timeout):
        reason = SLOW
    else:
        reason = UNKNOWN_NAME if isinstance(root, gaierror) else _text(root)
    return reason, hint_for(reason, port)


def _root(error: BaseException) -> BaseException:
    """The innermost cause, which `requests` and urllib3 wrap several times and in several ways."""
    for _ in range(_MAX_CAUSES):
        inner: list[Any] = [getattr(error, "reason", None), *error.args, error.__cause__]
        causes = [one for one in inner if isinstance(one, BaseException)]
        if not causes:
            return error
        error = causes[-1]
    return error


def _text(error: BaseException) -> str:
    verified = getattr(error, "verify_message", "") or getattr(error, "strerror", "")
    return str(verified or type(error).__name__)[:200].lower()
