"""Handlers of the differential suite: each is run under AWS's Python client and under ours."""

import collections
import datetime
import decimal
import enum
import logging
import os
import sys

Point = collections.namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    """An int to every JSON encoder."""

    RED = 3


class OrderFailed(Exception):
    """A user's own exception."""


def echo(event, context):
    return event


def kind(event, context):
    return {"type": type(event).__name__, "value": event if isinstance(event, str) else None}


def nothing(event, context):
    print("a line from the handler")


def text(event, context):
    return "grüße ✓ \u2028 \ud83d\ude00"


def numbers(event, context):
    return {
        "decimal": decimal.Decimal("1.10"),
        "exponent": decimal.Decimal("1E+3"),
        "negative": [decimal.Decimal("-0.000001")],
        "huge": 2**80,
        "float": 0.1 + 0.2,
        "colour": Colour.RED,
    }


def not_a_number(event, context):
    return [float("nan"), float("inf"), -float("inf"), decimal.Decimal("NaN")]


def raw_bytes(event, context):
    return b"\x00\x01 raw"


def inner_bytes(event, context):
    return {"body": b"caf\xc3\xa9", "list": [b"x"]}


def bad_inner_bytes(event, context):
    return {"body": b"\xff\xfe"}


def named_tuple(event, context):
    return {"point": Point(1, [Point(2, 3)]), "plain": (1, 2)}


def keys(event, context):
    return {2: "int", 1.5: "float", True: "bool", None: "none", "s": "str"}


def bad_key(event, context):
    return {(1, 2): "tuple"}


def a_set(event, context):
    return {"set": {1}}


def a_date(event, context):
    return {"now": datetime.datetime(2026, 1, 1)}


def a_cycle(event, context):
    loop = []
    loop.append(loop)
    return loop


def deep(event, context):
    value = []
    for _ in range(400):
        value = [value]
    return value


def too_large(event, context):
    return "x" * (6 * 1024 * 1024 + 200)


def just_fits(event, context):
    return "x" * (6 * 1024 * 1024 + 98)


def raises(event, context):
    raise OrderFailed("order 17 failed: ünïcode\nsecond line")


def raises_nothing(event, context):
    raise ValueError


def raises_key(event, context):
    return {}["missing"]


def raises_chained(event, context):
    try:
        return {}["missing"]
    except KeyError as error:
        raise OrderFailed("no such order") from error


def recursion(event, context):
    return recursion(event, context)


def exits(event, context):
    sys.exit(3)


def dies(event, context):
    os._exit(7)


def interrupts(event, context):
    raise KeyboardInterrupt


def about(event, context):
    return {
        "function_name": context.function_name,
        "function_version": context.function_version,
        "invoked_function_arn": context.invoked_function_arn,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "log_group_name": context.log_group_name,
        "request_id": context.aws_request_id,
        "identity": [
            context.identity.cognito_identity_id,
            context.identity.cognito_identity_pool_id,
        ],
        "client_context": context.client_context,
        "tenant_id": context.tenant_id,
        "remaining": 0 < context.get_remaining_time_in_millis() <= 10_000,
        "w3c": context.w3c(),
        "attributes": sorted(name for name in vars(context) if not name.startswith("_")),
    }


def trace_variable(event, context):
    return os.environ.get("_X_AMZN_TRACE_ID")


def client(event, context):
    found = context.client_context
    return {
        "custom": found.custom,
        "env": found.env,
        "app_title": found.client.app_title,
        "installation_id": found.client.installation_id,
        "w3c": context.w3c(),
    }


def text_forms(event, context):
    return repr(context).replace(context.log_stream_name or "", "STREAM")


def environment(event, context):
    names = ("_HANDLER", "AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "LAMBDA_TASK_ROOT")
    return {name: os.environ.get(name) for name in names} | {"cwd": os.getcwd() == sys.path[0]}


def logs(event, context):
    logging.getLogger("app").warning("careful %s", event)
    return len(logging.getLogger().handlers)


async def coroutine(event, context):
    return 1


not_callable = 17
