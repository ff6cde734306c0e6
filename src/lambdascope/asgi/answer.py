"""The application's response as the answer that the sender of the event expects.

Headers come as ASGI has them, pairs of bytes, names possibly repeated. Pure. Sources: as in
`request`.
"""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lambdascope.asgi.request import ALB, V2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lambdascope.asgi.request import Request

    RawHeaders = Iterable[Iterable[bytes]]

_COOKIE = "set-cookie"


def answer(request: Request, status: int, headers: RawHeaders, body: bytes) -> dict[str, Any]:
    """What the handler returns for a whole response."""
    fields: dict[str, Any] = {"statusCode": status}
    lists = header_lists(headers)
    if request.shape == ALB:
        fields["statusDescription"] = _description(status)
    if request.has_lists:
        fields["multiValueHeaders"] = lists
    elif request.shape == V2:
        fields["headers"], cookies = joined(lists)
        if cookies:
            fields["cookies"] = cookies
    else:
        fields["headers"], cookies = joined(lists)
        fields["headers"] |= dict(zip(_spellings(_COOKIE), cookies, strict=False))
    return fields | _body(body)


def header_lists(headers: RawHeaders) -> dict[str, list[str]]:
    """All values of each name, which is in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def joined(lists: dict[str, list[str]]) -> tuple[dict[str, str], list[str]]:
    """One value for each name, and the cookies, which cannot be joined."""
    headers = {name: ", ".join(values) for name, values in lists.items() if name != _COOKIE}
    return headers, lists.get(_COOKIE, [])


def _spellings(name: str) -> Iterator[str]:
    """A name in each mixture of cases: a load balancer takes them for different names."""
    places = [place for place, letter in enumerate(name) if letter.isalpha()]
    for number in range(2 ** len(places)):
        letters = list(name)
        for bit, place in enumerate(places):
            if number >> bit & 1:
                letters[place] = letters[place].upper()
        yield "".join(letters)


def _body(body: bytes) -> dict[str, Any]:
    """As text where it is text; a NUL would take six characters in JSON."""
    if b"\0" not in body:
        try:
            return {"body": body.decode("utf-8"), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _description(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
