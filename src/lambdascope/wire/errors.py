"""The two ways in which an exchange can go wrong, and nothing else.

A LocalProtocolError says that our own side was about to break the protocol: a bug of the caller. A
RemoteProtocolError says that the peer did. Any other exception that leaves `wire` is a bug in
`wire`.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of both; never raised itself."""


class LocalProtocolError(ProtocolError):
    """Our side was about to send something that the protocol forbids."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol forbids.

    `status` is what a server should answer (400, 413, 431, 501); a client ignores it.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
