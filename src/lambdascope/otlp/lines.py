"""OTLP requests as single lines of a log, and back.

The extension writes them when nothing else is left, `lambdascope replay` reads them. A line holds
the request as it is, compressed and in base64: a fifth of OTLP/JSON, and nothing has to be decoded
in the last moments of an environment. It has no character that a log export would escape, and may
stand in the middle of a line. A checksum tells a line that was cut.
"""

from __future__ import annotations

PREFIX = "lambdascope-otlp-1"
SIGNALS = ("traces", "metrics", "logs")
FORMS = ("protobuf", "json")
# What a line of a log group may have, with room for what a collector of logs puts around it.
MAX_LINE_BYTES = 200_000
_MAX_BODY_BYTES = 64 * 1024 * 1024
_ID_CHARS = 32
_HEX = frozenset("0123456789abcdef")
_ALPHABET = bytes.maketrans(b"+/", b"-_")
_BACK = bytes.maketrans(b"-_", b"+/")
# The fastest: at the end of an environment time is short, and a function may have 7 % of a core.
_LEVEL = 1
_FRAME = 16 + 15  # gzip


class Line:
    """One request. `form` is one of FORMS, `id` the batch's, 32 hexadecimal digits; `items` is what
    the extension's ledger counted for it."""

    __slots__ = ("body", "form", "id", "items", "signal")

    def __init__(self, *, signal: str, form: str, id: str, items: int, body: bytes) -> None:
        self.signal = signal
        self.form = form
        self.id = id
        self.items = items
        self.body = body

    def encode(self) -> bytes:
        """The line, without its end."""
        from binascii import b2a_base64, crc32
        from zlib import compressobj

        deflater = compressobj(_LEVEL, wbits=_FRAME)
        packed = deflater.compress(self.body) + deflater.flush()
        text = b2a_base64(packed, newline=False).translate(_ALPHABET)
        head = f"{PREFIX} {self.signal} {self.form} {self.id} {self.items} {crc32(self.body):08x} "
        return head.encode() + text


class DamagedLine(Exception):
    """The line has the prefix, and no whole request behind it."""


def parse_line(text: str) -> Line | None:
    """The request in a line of a log; None when there is none. Raises DamagedLine."""
    _, found, rest = text.partition(f"{PREFIX} ")
    if not found:
        return None
    words = rest.split(maxsplit=6)
    if len(words) < 6:
        raise DamagedLine("it is cut off")
    signal, form, batch_id, items, checksum, packed = words[:6]
    if signal not in SIGNALS or form not in FORMS or not items.isdecimal() or len(items) > 9:
        raise DamagedLine("its head is not of this format")
    if len(batch_id) != _ID_CHARS or not _HEX.issuperset(batch_id):
        raise DamagedLine("its id is not of this format")
    body = _unpacked(packed)
    from binascii import crc32

    if f"{crc32(body):08x}" != checksum:
        raise DamagedLine("its checksum is another")
    return Line(signal=signal, form=form, id=batch_id, items=int(items), body=body)


def _unpacked(text: str) -> bytes:
    from binascii import Error, a2b_base64
    from zlib import decompressobj
    from zlib import error as zlib_error

    # A log export as JSON has a quotation mark, a backslash or a comma behind it.
    end = next((i for i, char in enumerate(text) if not (char.isalnum() or char in "-_=")), None)
    try:
        packed = a2b_base64(text[:end].encode("ascii", "replace").translate(_BACK))
        inflater = decompressobj(_FRAME)
        body = inflater.decompress(packed, _MAX_BODY_BYTES)
    except (Error, zlib_error, ValueError) as error:
        raise DamagedLine(f"it cannot be unpacked: {error}") from None
    if not inflater.eof:
        raise DamagedLine("it is cut off")
    return body
