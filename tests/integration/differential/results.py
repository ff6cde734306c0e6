"""More handlers of the differential suite: results of every kind, and how they fail."""

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import os
import pathlib
import signal
import uuid

Point = collections.namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    HELLO = "hello"


@dataclasses.dataclass
class Order:
    number: int
    parts: list


class Row:
    """What a database library returns."""

    def _asdict(self):
        return {"id": 1, "at": None}


class Angry(Exception):
    def __str__(self):
        return ""


def datetimes(event, context):
    return [datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)]


def dates(event, context):
    return {"day": datetime.date(2026, 1, 2)}


def times(event, context):
    return datetime.time(3, 4)


def durations(event, context):
    return datetime.timedelta(seconds=3)


def ids(event, context):
    return {"id": uuid.UUID(int=17)}


def orders(event, context):
    return Order(1, [Order(2, [])])


def colours(event, context):
    return {"colour": Colour.RED}


def paths(event, context):
    return {"path": pathlib.PurePosixPath("/tmp/a")}


def words(event, context):
    return {Word.HELLO: [Word.HELLO]}


def rows(event, context):
    return {"rows": [Row(), Row()]}


def fraction(event, context):
    return fractions.Fraction(1, 3)


def a_bytearray(event, context):
    return {"body": bytearray(b"abc")}


def a_frozenset(event, context):
    return frozenset({1})


def an_object(event, context):
    return {"items": [{"tags": object()}]}


def a_class(event, context):
    return Order


def digits(event, context):
    return {"huge": [10**5000]}


def big_float(event, context):
    return [1e308, 5e-324, -0.0, 1e16, 123456789.123]


def too_deep(event, context):
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def mixed_cycle(event, context):
    value = {"points": []}
    value["points"].append(Point(1, value))
    return value


def surrogate(event, context):
    return {"text": "\ud800"}


def control(event, context):
    return "\x00\x1f\x7f\u2028\u2029</script>"


def keys_of_bytes(event, context):
    return {b"caf\xc3\xa9": 1}


def bad_keys_of_bytes(event, context):
    return {"a": {b"\xff": 1}}


def key_of_decimal(event, context):
    return {decimal.Decimal(1): 2}


def ordered(event, context):
    return collections.OrderedDict(b=1, a=collections.Counter("aab"))


def empties(event, context):
    return [{}, [], (), "", 0, 0.0, False, None]


def map_object(event, context):
    return map(str, [1])


def raises_group(event, context):
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


def raises_note(event, context):
    error = ValueError("noted")
    error.add_note("the note")
    raise error


def raises_cancelled(event, context):
    raise asyncio.CancelledError


def raises_in_context(event, context):
    try:
        raise ValueError("first")
    except ValueError:
        raise LookupError("second")  # noqa: B904 - the implicit context is the point


def raises_without_text(event, context):
    raise Angry


def raises_stop(event, context):
    raise StopIteration(3)


def raises_deep(event, context):
    def down(level):
        if not level:
            raise RuntimeError("at the bottom")
        down(level - 1)

    down(20)


def raises_unicode(event, context):
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad \ud800")


def raises_import(event, context):
    import zzq_not_there  # noqa: F401 - it fails


def raises_syntax(event, context):
    exec("def (")


def raises_long(event, context):
    raise ValueError("x" * 100_000)


def generator(event, context):
    yield b"one"


class Callable:
    def __call__(self, event, context):
        return [type(event).__name__, type(context).__name__]


instance = Callable()
partial = lambda event, context=None: event  # noqa: E731


def too_few(event):
    return 1


def segfaults(event, context):
    os.kill(os.getpid(), signal.SIGSEGV)
    signal.pause()  # any thread of the process may get it, at any time


def is_killed(event, context):
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
