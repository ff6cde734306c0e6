"""How functions in the wild set up and use `logging`: a module's code by the name of the habit.

Each has a `handler` that writes at least one line with the word KEPT in it. The tests run them
under AWS's client and under ours.
"""

from __future__ import annotations

_BEGIN = """
import io, json, logging, logging.config, logging.handlers, queue, sys, threading, warnings
log = logging.getLogger(__name__)
"""


def _both(setup: str, body: str = 'log.info("KEPT info"); log.error("KEPT error")') -> str:
    """Set up when the module is imported."""
    return f"{_BEGIN}\n{setup}\ndef handler(event, context):\n    {body}\n"


def _inside(setup: str) -> str:
    """Set up in the handler."""
    lines = "\n".join(f"    {line}" for line in setup.strip().splitlines())
    return (
        f"{_BEGIN}\ndef handler(event, context):\n{lines}\n"
        '    log.info("KEPT info"); log.error("KEPT error")\n'
    )


_DICT = """
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": %s,
    "formatters": {"short": {"format": "%%(levelname)s %%(name)s %%(message)s"}},
    "handlers": {"out": {
        "class": "logging.StreamHandler", "formatter": "short", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["out"]},
})
"""
_REMOVE_ALL = """
root = logging.getLogger()
if root.handlers:
    for one in root.handlers:
        root.removeHandler(one)
logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
"""
_REMOVE_ALL_COPIED = """
for one in logging.root.handlers[:]:
    logging.root.removeHandler(one)
logging.basicConfig(format="%(levelname)s|%(message)s", level="INFO", stream=sys.stdout)
"""
_OWN_HANDLER = """
own = logging.StreamHandler(sys.stdout)
own.setFormatter(logging.Formatter("own %(levelname)s %(message)s"))
"""
_JSON_LOGGER = """
from pythonjsonlogger import json as jsonlogger
class Formatter(jsonlogger.JsonFormatter):
    pass
"""
_QUEUE = """
lines = queue.SimpleQueue()
out = logging.StreamHandler(sys.stdout)
out.setFormatter(logging.Formatter("queued %(message)s"))
logging.root.addHandler(logging.handlers.QueueHandler(lines))
"""
_FACTORY = """
make = logging.getLogRecordFactory()
def factory(*args, **kwargs):
    record = make(*args, **kwargs)
    record.team = "shop"
    return record
logging.setLogRecordFactory(factory)
"""
_FILTER = """
class Redact(logging.Filter):
    def filter(self, record):
        record.msg = str(record.msg).replace("secret", "***")
        return "noise" not in record.msg
logging.root.handlers[0].addFilter(Redact())
"""
_THREADS = """
    threads = [threading.Thread(target=log.error, args=("KEPT %s", n)) for n in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()"""
_WRITES_ITSELF = """
class Own(logging.Handler):
    def emit(self, record):
        print("emitted", self.format(record))
logging.root.addHandler(Own())
"""

HABITS = {
    "nothing set up": _both(""),
    "level of the root": _both('logging.getLogger().setLevel("INFO")'),
    "level of the logger": _both('log.setLevel("DEBUG")', 'log.debug("KEPT debug")'),
    "functions of the module": _both(
        'logging.getLogger().setLevel("INFO")', 'logging.info("KEPT a"); logging.warning("KEPT b")'
    ),
    "basicConfig": _both('logging.basicConfig(level="INFO", format="mine %(message)s")'),
    "basicConfig in the handler": _inside('logging.basicConfig(level="INFO", format="mine")'),
    "basicConfig with force": _both(
        'logging.basicConfig(level="INFO", format="mine %(message)s", force=True)'
    ),
    "basicConfig with force in the handler": _inside(
        'logging.basicConfig(level="INFO", format="mine %(message)s", force=True)'
    ),
    "basicConfig with force to stdout": _both(
        'logging.basicConfig(level="INFO", stream=sys.stdout, force=True)'
    ),
    "remove all, then basicConfig": _both(_REMOVE_ALL),
    "remove all, then basicConfig, in the handler": _inside(_REMOVE_ALL),
    "remove a copy of all, then basicConfig": _both(_REMOVE_ALL_COPIED),
    "handlers emptied": _both("logging.root.handlers = []"),
    "handlers cleared": _both("logging.getLogger().handlers.clear()"),
    "handlers replaced": _both(f"{_OWN_HANDLER}\nlogging.root.handlers = [own]"),
    "own handler beside ours": _both(f"{_OWN_HANDLER}\nlogging.root.addHandler(own)"),
    "own handler that knows the id": _both(
        f'{_OWN_HANDLER}\nown.setFormatter(logging.Formatter("%(aws_request_id)s %(message)s"))\n'
        "logging.root.addHandler(own)"
    ),
    "own handler of the logger": _both(f"{_OWN_HANDLER}\nlog.addHandler(own)"),
    "own handler, propagation off": _both(
        f"{_OWN_HANDLER}\nlog.addHandler(own)\nlog.propagate = False"
    ),
    "propagation off": _both("log.propagate = False"),
    "handler that prints": _both(_WRITES_ITSELF),
    "memory handler": _both(
        "memory = logging.handlers.MemoryHandler(9, target=logging.root.handlers[0])\n"
        "log.addHandler(memory)\nlog.propagate = False",
        'log.error("KEPT error"); memory.flush()',
    ),
    "queue handler": _both(
        _QUEUE,
        'listener = logging.handlers.QueueListener(lines, out)\n    log.error("KEPT error")\n'
        "    listener.start(); listener.stop()",
    ),
    "dictConfig": _both(_DICT % False),
    "dictConfig that disables": _both(_DICT % True, 'logging.getLogger("new").error("KEPT")'),
    "dictConfig in the handler": _inside(_DICT % False),
    "incremental dictConfig": _both(
        'logging.config.dictConfig({"version": 1, "incremental": True, "root": {"level": "INFO"}})'
    ),
    "level of the platform's handler": _both(
        'logging.root.setLevel("INFO")\nlogging.root.handlers[0].setLevel("ERROR")'
    ),
    "filter of the platform's handler": _both(
        _FILTER, 'log.error("KEPT secret"); log.error("noise")'
    ),
    "format with a line end": _both(
        'logging.root.handlers[0].setFormatter(logging.Formatter("mine %(message)s\\n"))'
    ),
    "format with the id": _both(
        "logging.root.handlers[0].setFormatter("
        'logging.Formatter("%(aws_request_id)s %(tenant_id)s %(message)s\\n"))'
    ),
    "format in braces": _both(
        "logging.root.handlers[0].setFormatter("
        'logging.Formatter("{levelname:>8} {message}\\n", style="{"))'
    ),
    "python-json-logger": _both(
        f"{_JSON_LOGGER}\n{_OWN_HANDLER}\nown.setFormatter(Formatter())\n"
        "logging.root.handlers = [own]",
        'log.error("KEPT error", extra={"order": 17})',
    ),
    "python-json-logger beside ours": _both(
        f"{_JSON_LOGGER}\n{_OWN_HANDLER}\nown.setFormatter(Formatter())\nlog.addHandler(own)",
        'log.error("KEPT error", extra={"order": 17})',
    ),
    "extras": _both("", 'log.error("KEPT", extra={"order": 17, "tags": ["a"], "deep": {"b": 1}})'),
    "extras that JSON does not know": _both(
        "import datetime, decimal, uuid",
        'log.error("KEPT", extra={"day": datetime.date(2026, 1, 1), "set": {1}, '
        '"sum": decimal.Decimal("1.10"), "id": uuid.UUID(int=1), "error": ValueError("x")})',
    ),
    "extras with the names of fields": _both(
        "",
        'log.error("KEPT", extra={"level": "mine", "timestamp": 1, "logger": 2, "requestId": 3, '
        '"tenantId": 7})',
    ),
    "extra that is None": _both("", 'log.error("KEPT", extra={"gone": None, "aws_request_id": 5})'),
    "logger adapter": _both(
        'log = logging.LoggerAdapter(log, {"user": "ann"})', 'log.error("KEPT %s", "it")'
    ),
    "record factory": _both(_FACTORY, 'log.error("KEPT")'),
    "level of its own": _both(
        'logging.addLevelName(35, "NOTICE")', 'log.log(35, "KEPT"); log.log(31, "KEPT too")'
    ),
    "level renamed": _both('logging.addLevelName(40, "\\x1b[31mERR")', 'log.error("KEPT")'),
    "levels between": _both(
        "log.setLevel(1)", 'for n in (1, 5, 15, 49, 50, 51, 1000): log.log(n, "KEPT %s", n)'
    ),
    "disable": _both('logging.disable("WARNING")', 'log.warning("not"); log.error("KEPT")'),
    "captured warnings": _both(
        "logging.captureWarnings(True)", 'warnings.warn("KEPT", UserWarning, stacklevel=1)'
    ),
    "warnings": _both("", 'warnings.warn("KEPT", UserWarning, stacklevel=1)'),
    "threads": _both("", f"pass{_THREADS}"),
    "timer thread": _both(
        "", 't = threading.Timer(0, log.error, ("KEPT",))\n    t.start(); t.join()'
    ),
    "exception": _both(
        "", 'try: {}["x"]\n    except KeyError: log.exception("KEPT %s", 1, stack_info=True)'
    ),
    "several lines": _both("", 'log.error("KEPT\\n  second\\n\\nfourth")'),
    "percent without arguments": _both("", 'log.error("KEPT 100% {} %s")'),
    "an object": _both("", 'log.error({"KEPT": 1}); log.error(["KEPT", 2]); log.error(None)'),
    "unicode": _both("", 'log.error("KEPT grüße 😀 \\u2028 \\x00")'),
    "print": _both("", 'print("KEPT", 1); print("KEPT err", file=sys.stderr)'),
    "print without an end": _both("", 'print("KEPT ", end=""); print("it")'),
    "context.log": _both("", 'context.log("KEPT\\n"); context.log(17); context.log("\\n")'),
    "stdout replaced for a while": _both(
        "",
        'before, sys.stdout = sys.stdout, io.StringIO()\n    print("swallowed")\n'
        '    sys.stdout = before\n    log.error("KEPT")',
    ),
    "logs while it is imported": _both('log.error("KEPT at init"); print("KEPT print")'),
    "imported in the handler": (
        "def handler(event, context):\n    from logging import getLogger\n"
        '    getLogger("late").error("KEPT")\n'
    ),
    "a submodule first": (
        'import logging.config\ndef handler(event, context):\n    logging.error("KEPT")\n'
    ),
    "time in another zone": _both(
        "import os, time\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()\n"
        f"{_OWN_HANDLER}\nown.setFormatter(logging.Formatter('%(asctime)s'))\n"
        "logging.root.addHandler(own)",
        'record = logging.makeLogRecord({"created": 0.0, "msecs": 0.0})\n'
        '    print("KEPT", own.format(record)[:13])',
    ),
}
# Of these AWS's client ends the text before the traceback or after the message's own end, so that
# the next line is glued on, or an empty one comes in between.
NOT_AS_TEXT = frozenset(("exception", "captured warnings"))
# Run where several invocations share standard output, too: those that write in different ways.
SHARING = (
    "nothing set up",
    "basicConfig with force",
    "remove all, then basicConfig",
    "handlers emptied",
    "own handler beside ours",
    "own handler, propagation off",
    "handler that prints",
    "queue handler",
    "dictConfig",
    "python-json-logger",
    "captured warnings",
    "threads",
    "exception",
    "several lines",
    "unicode",
    "print",
    "print without an end",
    "context.log",
    "logs while it is imported",
)
# What fails inside of AWS's client, or is swallowed by it, with the lines that are to be kept here.
OURS_ALONE = {
    "format without a line end": (
        _both('logging.root.handlers[0].setFormatter(logging.Formatter("mine %(message)s"))'),
        ["mine KEPT error"],
    ),
    "python-json-logger in the platform's handler": (
        _both(
            f"{_JSON_LOGGER}\nlogging.root.handlers[0].setFormatter(Formatter())",
            'log.error("KEPT", extra={"order": 17}); log.error("KEPT 2")',
        ),
        ['"message": "KEPT"', '"message": "KEPT 2"'],
    ),
    "basicConfig with force and the id": (
        _both(
            'logging.basicConfig(level="INFO", format="%(aws_request_id)s %(message)s", force=True)'
        ),
        ["--- Logging error ---", "Message: 'KEPT info'", "Message: 'KEPT error'"],
    ),
    "exception": (
        _both("", 'try: {}["x"]\n    except KeyError: log.exception("KEPT")\n    print("after")'),
        ["KEPT", "KeyError", "after"],
    ),
    "exception without one": (
        _both("", 'log.error("KEPT", exc_info=True); log.error("KEPT on")'),
        ["KEPT", "KEPT on"],
    ),
    "captured warning": (
        _both(
            "logging.captureWarnings(True)",
            'warnings.warn("KEPT", UserWarning, stacklevel=1); print("after")',
        ),
        ["UserWarning: KEPT", "after"],
    ),
    "extras with the names of fields that are empty": (
        _both(
            "",
            'log.error("KEPT", extra={"errorType": 4, "stackTrace": 5, "location": 6})',
        ),
        ["KEPT"],
    ),
    "arguments that do not fit": (
        _both("", 'log.error("%s %s", "KEPT"); log.error("KEPT on")'),
        ["KEPT on", "--- Logging error ---"],
    ),
    "an extra without a text": (
        _both(
            "class Silent:\n    def __str__(self): raise RuntimeError\n    __repr__ = __str__",
            'log.error("KEPT", extra={"it": Silent()}); log.error("KEPT %s", 2)',
        ),
        ["KEPT", "KEPT 2"],
    ),
    "an extra that holds itself": (
        _both("", 'loop = []; loop.append(loop)\n    log.error("KEPT", extra={"it": loop})'),
        ["KEPT"],
    ),
    "an extra with keys that JSON does not know": (
        _both("", 'log.error("KEPT", extra={"it": {(1, 2): 3}})'),
        ["KEPT"],
    ),
    "an argument without a text": (
        _both(
            "class Silent:\n    def __str__(self): raise RuntimeError('no')",
            'log.error("%s", Silent()); log.error("KEPT")',
        ),
        ["KEPT"],
    ),
    "a lone surrogate": (_both("", r'log.error("KEPT \ud800"); log.error("KEPT on")'), ["KEPT on"]),
}
