"""One event of the Telemetry API as the bytes that stand for it in a batch.

Encoded once, when it is emitted, in the two forms that subscribers may ask for. Knows no
subscribers. Source of the shapes: AWS Lambda developer guide, "Telemetry API Event schema
reference"; that a line which is a JSON object arrives as that very object, and any other line as a
string with its line end, was recorded from real functions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NoReturn

from lambdascope.emulator.times import iso_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One encoded event. `category` is platform, function or extension.

    `as_object` is set for log lines that are JSON objects in a function with JSON log format.
    """

    category: str
    text: bytes
    as_object: bytes | None = None


def encode_event(kind: str, record: object, time_ns: int, *, json_lines: bool = False) -> Event:
    """An event of type `kind`; a string record is a log line, with or without its line end."""
    category = kind.partition(".")[0]
    if not isinstance(record, str):
        return Event(category=category, text=_item(kind, to_json(record), time_ns))
    line = record.removesuffix("\n")
    text = _item(kind, to_json(line + "\n"), time_ns)
    if not json_lines or not _is_object(line):
        return Event(category=category, text=text)
    # The line itself, not what a parser would make of it: numbers keep their digits.
    return Event(category=category, text=text, as_object=_item(kind, line.strip(), time_ns))


def to_json(value: object) -> str:
    """Compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _item(kind: str, record_json: str, time_ns: int) -> bytes:
    text = f'{{"time":"{iso_time(time_ns)}","type":"{kind}","record":{record_json}}}'
    return text.encode("utf-8", "replace")


def _is_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
