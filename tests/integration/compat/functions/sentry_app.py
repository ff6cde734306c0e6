"""A function with the Sentry SDK as its documentation shows it; DSN is a loopback recorder."""

import os
import threading

import sentry_sdk
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration
from sentry_sdk.utils import TimeoutThread

sentry_sdk.init(
    dsn=os.environ["DSN"],
    integrations=[AwsLambdaIntegration(timeout_warning=True)],
    traces_sample_rate=1.0,
)

if os.environ.get("FAIL_INIT") == "raise":
    raise LookupError("no configuration")
if os.environ.get("FAIL_INIT") == "import":
    import no_such_package  # noqa: F401


def handler(event, context):
    sentry_sdk.set_tag("order", "17")
    if event == "raise":
        raise ValueError("no such order")
    if event == "slow":
        for thread in threading.enumerate():
            if isinstance(thread, TimeoutThread):
                thread.join()
    return {"order": 17}


async def asynchronous(event, context):
    raise ValueError("no such order")


def stream(event, context):
    yield b"first"
    raise ValueError("broke off")
