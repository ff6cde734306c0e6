"""Fixtures of the transport's tests."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from byte_server import Connect
from listener_kit import Serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes connections that are closed after the test."""
    with contextlib.closing(Connect()) as made:
        yield made


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts listeners; at the end no thread of them may be left."""
    made = Serve()
    yield made
    made.close()
