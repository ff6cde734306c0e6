"""Keeps `_X_AMZN_TRACE_ID` in `os.environ` up to date without growing memory.

AWS SDKs, botocore and X-Ray read the variable through `os.environ`. Setting it there would call
putenv(3), and glibc keeps every distinct string for ever: 141 bytes an invocation. So only the dict
behind `os.environ` is changed. What sees the C environment instead (a child process started without
an explicit environment) does not see it.
"""

from __future__ import annotations

import os

from lambdascope.wire.names import ENV_TRACE_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping


class TraceEnv:
    """Sets and removes the variable; one invocation at a time only."""

    __slots__ = ("_data", "_environ", "_key")

    def __init__(self) -> None:
        self._key = ENV_TRACE_ID.encode()
        self._adopt()
        # What the process was started with must not be inherited by children for ever.
        self._environ.pop(ENV_TRACE_ID, None)

    def set(self, header: str | None) -> None:
        """The header of the invocation that begins, or None to remove the variable."""
        if os.environ is not self._environ:
            self._adopt()  # the function has put another mapping there, which SDKs will read
        if self._data is None:
            if header is None:
                self._environ.pop(ENV_TRACE_ID, None)
            else:
                self._environ[ENV_TRACE_ID] = header
        elif header is None:
            self._data.pop(self._key, None)
        else:
            self._data[self._key] = header.encode("utf-8", "surrogateescape")

    def _adopt(self) -> None:
        self._environ: MutableMapping[str, str] = os.environ
        # A private name of CPython's os.environ. Without it the ordinary way is taken, which grows
        # where it calls putenv and not where the function's own mapping is a plain dict.
        self._data: dict[bytes, bytes] | None = getattr(self._environ, "_data", None)
