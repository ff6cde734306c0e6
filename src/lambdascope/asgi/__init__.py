"""ASGI applications (Starlette, FastAPI, Django) as Lambda handlers.

`handler = lambdascope.asgi.handler(app)`. Loaded only by functions that import it. The translation
of events is our own and not mangum's: its parts are not meant to be used one by one, join repeated
headers, know no root path, and end with a KeyError on an odd event.
"""

from __future__ import annotations

from lambdascope.asgi.adapter import handler

__all__ = ["handler"]
