"""The Runtime API as the loop needs it: next, and posting an outcome, with every status code's
rule.

Status rules (AWS Lambda developer guide, "Using the Lambda runtime API"): 400, 410 and 413 on a
post mean that the platform has already decided about this invocation, so go on; 403 means the state
machine disagrees, and the next `next` tells; 500, or anything but 200 on next, cannot be recovered.
"""

from __future__ import annotations

from time import monotonic

from lambdascope.transport.connection import Connection, ConnectionLost
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.runtime_api import Invocation, Next

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.transport.upload import Upload
    from lambdascope.wire.runtime_api import InitError, InvocationError, InvocationResponse

# The answer to a post is a few bytes from the same host; more than this is a platform that is gone.
_POST_TIMEOUT_S = 30.0
# The event has come over the connection just now, so that it is open, most probably: what is
# saved is a system call while the caller waits. Before next, which may run what it gets, it is
# looked at every time.
_POST_TRUST_S = 1.0


class RuntimeApiError(Exception):
    """The Runtime API cannot be used any more; the text is one line for a person.

    `status` is what it answered last, 0 when it did not answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RuntimeApi:
    """Client of one Runtime API endpoint, over one keep-alive connection."""

    __slots__ = ("_address", "_connection", "_headers", "_host", "_next", "_port", "_user_agent")

    def __init__(self, host: str, port: int, user_agent: str) -> None:
        self._user_agent = user_agent
        self._aim(host, port)

    def _aim(self, host: str, port: int) -> None:
        self._address = f"{host}:{port}"
        self._host = host
        self._port = port
        self._connection = Connection(host, port)
        self._headers = (("Host", self._address), ("User-Agent", self._user_agent))
        self._next = Next().to_request(self._headers)

    def reopen(self, host: str = "", port: int = 0) -> None:
        """Go on over a new connection, where an address is given, to there."""
        self._connection.close()
        self._aim(host or self._host, port or self._port)

    def next(self) -> Invocation:
        """Wait for the next event, for ever. Raises RuntimeApiError.

        The environment may be frozen for hours in here. When the connection broke meanwhile, asking
        again is safe: a platform that has handed the event out already hands it out again.
        """
        try:
            try:
                head, body = self._connection.exchange(self._next)
            except ConnectionLost:
                head, body = self._connection.exchange(self._next)
            if head.status == names.OK:
                return Invocation(headers=head.headers, body=body)
        except (ConnectionLost, RemoteProtocolError) as error:
            raise RuntimeApiError(f"Runtime API, next: {error}") from None
        raise RuntimeApiError(
            f"Runtime API at {self._address} answered {head.status} to next: {_shown(body)}",
            status=head.status,
        )

    def restore_next(self) -> None:
        """SnapStart: say that a snapshot can be taken, and wait, for ever, until it is restored.

        Not asked twice, since the second request is refused. Raises RuntimeApiError.
        """
        try:
            head, body = self._connection.exchange(Next(restore=True).to_request(self._headers))
        except (ConnectionLost, RemoteProtocolError) as error:
            raise RuntimeApiError(f"Runtime API, restore/next: {error}") from None
        if head.status != names.OK:
            raise RuntimeApiError(
                f"Runtime API at {self._address} answered {head.status} to restore/next: "
                f"{_shown(body)}",
                status=head.status,
            )

    def post(self, message: InvocationResponse | InvocationError) -> tuple[int, str]:
        """Post the outcome of an invocation: status (0 = unknown) and a line to say, if any.

        When the connection broke it is posted once more: a platform that has taken it refuses the
        second one, and one that has not would wait for ever. Raises RuntimeApiError when the
        platform answered 500, answered garbage or cannot be reached.
        """
        request = message.to_request(self._headers)
        lost = ""
        until = monotonic() + _POST_TIMEOUT_S
        try:
            try:
                head, body = self._connection.exchange(
                    request, timeout=_POST_TIMEOUT_S, trust_s=_POST_TRUST_S
                )
            except ConnectionLost as error:
                lost = f"lost the Runtime API while posting {message.request_id}: {error}"
                if error.sent and monotonic() >= until:
                    return 0, lost
                head, body = self._connection.exchange(request, timeout=until - monotonic())
        except ConnectionLost as error:
            if error.sent:
                return 0, lost
            raise RuntimeApiError(f"Runtime API, post: {error}") from None
        except RemoteProtocolError as error:
            raise RuntimeApiError(f"Runtime API, post: {error}") from None
        if head.status == names.ACCEPTED:
            return head.status, ""
        said = f"Runtime API answered {head.status} for {message.request_id}: {_shown(body)}"
        if lost and head.status < names.SERVER_ERROR:
            return head.status, f"{lost}; posted again: {said}"
        if head.status >= names.SERVER_ERROR:
            raise RuntimeApiError(said, status=head.status)
        return head.status, said

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of every request."""
        return self._headers

    def upload(self, head: bytes) -> Upload:
        """Begin a streamed POST on a connection of its own. Raises ConnectionLost."""
        from lambdascope.transport.upload import Upload

        return Upload(self._host, self._port, head)

    def post_init_error(self, message: InitError) -> str:
        """Report a failed init or restore; a line to say when that was not accepted.

        Never raises.
        """
        what = "restore/error" if message.restore else "init/error"
        try:
            head, body = self._connection.exchange(
                message.to_request(self._headers), timeout=_POST_TIMEOUT_S
            )
        except (ConnectionLost, RemoteProtocolError) as error:
            return f"Runtime API, {what}: {error}"
        if head.status == names.ACCEPTED:
            return ""
        return f"Runtime API answered {head.status} to {what}: {_shown(body)}"


def _shown(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace").strip() or "(empty)"
