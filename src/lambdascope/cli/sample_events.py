"""Where the event comes from: a file, JSON on the command line, standard input or a sample.

The samples are JSON files in the folder `events` beside this module, written in the shapes that the
AWS Lambda developer guide documents for each service ("Using Lambda with ..."). The event's bytes
reach the function exactly as they were read; they are only checked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from lambdascope.cli.errors import CommandError
from lambdascope.wire.names import MAX_PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent / "events"
_INLINE_STARTS = ("{", "[", '"')


def sample_names() -> list[str]:
    """The names that `-e` takes, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def sample_lines() -> Iterator[str]:
    """One line per sample: its name and what it is."""
    for name in sample_names():
        yield f"{name:<12} {_DESCRIPTIONS.get(name, '')}".rstrip()


def read_event(source: str, stdin: BinaryIO) -> bytes:
    """The event that `-e source` means, as bytes. Raises CommandError.

    `-` is standard input; text that starts like JSON is JSON; then a file of that name; then a
    sample of that name.
    """
    if source == "-":
        return _checked(stdin.read(), "standard input")
    if source.lstrip().startswith(_INLINE_STARTS):
        return _checked(source.encode("utf-8", "surrogateescape"), "the event given with -e")
    path = Path(source)
    if path.is_file():
        return _checked(_read(path), str(path))
    if source in sample_names():
        return _read(_FOLDER / f"{source}.json")
    if _is_json(source):
        return source.encode()
    raise CommandError(
        f"no event {source!r}: no such file in {Path.cwd()}, not JSON, and no sample of that name "
        f"(samples: {', '.join(sample_names())})"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read the event {path}: {error.strerror}") from None


def _checked(event: bytes, where: str) -> bytes:
    if len(event) > MAX_PAYLOAD_BYTES:
        raise CommandError(
            f"{where} has {len(event):,} bytes; Lambda takes events of at most "
            f"{MAX_PAYLOAD_BYTES:,} bytes"
        )
    if not event.strip():
        raise CommandError(f"{where} is empty; an event is JSON, for example {{}}")
    try:
        json.loads(event.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise CommandError(f"{where} is not UTF-8: byte {error.start} cannot be decoded") from None
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{where} is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise CommandError(f"{where} is nested too deeply to be read as JSON") from None
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}") from None
    return event


def _is_json(text: str) -> bool:
    """Whether it is a bare number, true, false or null: rare, but legal events."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")


_DESCRIPTIONS = {
    "alb": "a request through an Application Load Balancer",
    "apigw": "a request through an API Gateway REST API (payload 1.0)",
    "cognito": "a user pool trigger: after a sign-up was confirmed",
    "dynamodb": "a batch of two changes from a DynamoDB stream",
    "eventbridge": "an event of your own from an EventBridge bus",
    "http": "a request through an API Gateway HTTP API (payload 2.0)",
    "kinesis": "a batch of two records from a Kinesis stream",
    "s3": "an object was created in a bucket",
    "schedule": "a scheduled rule fired",
    "sns": "a message from an SNS topic",
    "sqs": "a batch of three messages from an SQS queue, two of them traced",
    "url": "a request to a function URL",
}
