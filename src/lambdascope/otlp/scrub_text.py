"""Finds secrets in free text: log lines, messages of exceptions, statements, by how they look.

`scrub` calls it for the texts that a needle of the rules is in. Every kind is found from a mark, by
hand and in one pass to the right, so that no text takes more than linear time. Bytes, because
their positions do not change in lower case. Sources of the forms: RFC 6750 (bearer tokens), RFC
7519 (JWT), RFC 7468 (private keys), IAM user guide, "IAM identifiers" (access key ids).
"""

from __future__ import annotations

from lambdascope.otlp.scrub_rules import SCRUBBED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.otlp.scrub_rules import ScrubRules

    Span = tuple[int, int]

_SCRUBBED = SCRUBBED.encode()
_DIGITS = frozenset(b"0123456789")
_UPPER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ") | _DIGITS
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyz_-") | _UPPER
_NAME = _WORD | frozenset(b".")
_TOKEN = _WORD | frozenset(b".~+/=")
_ENDS = frozenset(b" \t\r\n\"'&,;)}]<>\\")
_AUTHORITY_ENDS = frozenset(b" \t\r\n\"'\\/?#")
_PARAMETER_ENDS = _ENDS | frozenset(b"#")
_QUERY = (b"?", b"&")
_BLANKS = frozenset(b" \t")
_QUOTES = frozenset(b"\"'")
_BACKSLASH = 0x5C
# Shorter ones are words: `bearer of news`, `token=5`.
_LEAST_TOKEN = 16
_LEAST_VALUE = 4
_KEY_ID_CHARS = 20
_LONGEST_NAME = 64


def scrub_text(text: bytes, rules: ScrubRules) -> bytes:
    """The text without secrets; `text` itself if there is none."""
    low = text.lower()
    found = [*_bearers(text, low), *_jwts(text), *_key_ids(text), *_private_keys(text)]
    if rules.urls:
        found += _passwords(text)
    found += _assigned(text, low, rules)
    if not found:
        return text
    out: list[bytes] = []
    at = 0
    for start, end in sorted(found):
        if start >= at:
            out += (text[at:start], _SCRUBBED)
        at = max(at, end)
    out.append(text[at:])
    return b"".join(out)


def _marks(text: bytes, mark: bytes) -> Iterator[int]:
    at = text.find(mark)
    while at >= 0:
        yield at
        at = text.find(mark, at + len(mark))


def _end(text: bytes, at: int, allowed: frozenset[int]) -> int:
    """Where the run of these characters that begins at `at` is over."""
    size = len(text)
    while at < size and text[at] in allowed:
        at += 1
    return at


def _bearers(text: bytes, low: bytes) -> Iterator[Span]:
    for mark in _marks(low, b"bearer "):
        start = mark + 7
        end = _end(text, start, _TOKEN)
        if end - start >= _LEAST_TOKEN and not _DIGITS.isdisjoint(text[start:end]):
            yield start, end


def _jwts(text: bytes) -> Iterator[Span]:
    done = 0
    for mark in _marks(text, b".eyJ"):
        if mark < done:
            continue
        start = mark
        while start > done and text[start - 1] in _WORD:
            start -= 1
        done = _end(text, mark, _NAME)
        if text.startswith(b"eyJ", start):
            yield start, done


def _key_ids(text: bytes) -> Iterator[Span]:
    for mark in (b"AKIA", b"ASIA"):
        for start in _marks(text, mark):
            end = start + _KEY_ID_CHARS
            if (start == 0 or text[start - 1] not in _WORD) and end == _end(
                text[: end + 1], start, _UPPER
            ):
                yield start, end


def _private_keys(text: bytes) -> Iterator[Span]:
    done = 0
    for mark in _marks(text, b"-----BEGIN "):
        kind = text.find(b"PRIVATE KEY-----", mark, mark + _LONGEST_NAME)
        if kind >= 0 and mark >= done:
            end = text.find(b"-----END", kind)
            done = len(text) if end < 0 else end
            yield kind + 16, done


def _passwords(text: bytes) -> Iterator[Span]:
    """`user:password` in front of a host, in URLs."""
    for mark in _marks(text, b"://"):
        start = end = mark + 3
        size = len(text)
        while end < size and text[end] not in _AUTHORITY_ENDS:
            end += 1
        user = text.rfind(b"@", start, end)
        if b":" in text[start : max(start, user)]:
            yield start, user


def _assigned(text: bytes, low: bytes, rules: ScrubRules) -> Iterator[Span]:
    """Values of what has a secret's name: `name=value`, `name="value"`, `"name": "value"`."""
    done = 0
    for hit in rules.hits(low):
        if hit < done:
            continue
        start = hit
        while start > max(done, hit - _LONGEST_NAME) and text[start - 1] in _NAME:
            start -= 1
        done = end = _end(text, hit, _NAME)
        if end - start > 2 * _LONGEST_NAME:
            continue
        value = _value(
            text, end, _PARAMETER_ENDS if text[max(0, start - 1) : start] in _QUERY else _ENDS
        )
        if value is not None and rules.hides(text[start:end].decode("ascii", "replace")):
            done = value[1]
            yield value


def _value(text: bytes, at: int, ends: frozenset[int]) -> Span | None:
    """What is assigned to the name that is over at `at`, until one of `ends`; None if nothing."""
    named_until = _quote_end(text, at)
    at = _end(text, named_until or at, _BLANKS)
    sign = text[at : at + 1]
    if sign not in (b"=", b":") or text[at + 1 : at + 2] == b"=":
        return None
    start = _end(text, at + 1, _BLANKS)
    quoted = _quote_end(text, start)
    if quoted is not None:
        return quoted, _closed(text, quoted, text[start:quoted])
    if sign == b":" or start != at + 1:
        return None  # as in `unexpected token: x`
    end, size = start, len(text)
    while end < size and text[end] not in ends:
        end += 1
    is_new = end - start >= _LEAST_VALUE and not text.startswith(_SCRUBBED, start)
    return (start, end) if is_new else None


def _quote_end(text: bytes, at: int) -> int | None:
    r"""The end of a quotation mark at `at`, which is `\"` in JSON within JSON; None without one."""
    first = at + (text[at : at + 1] == b"\\")
    return first + 1 if first < len(text) and text[first] in _QUOTES else None


def _closed(text: bytes, at: int, quote: bytes) -> int:
    """Where the quotation that began with `quote` is over."""
    while True:
        end = text.find(quote, at)
        if end < 0:
            return len(text)
        if len(quote) > 1 or text[end - 1] != _BACKSLASH:
            return end
        at = end + 1
