"""Sentry set up inside the handler; the event is recorded by hand before that."""

import os


def handler(event, context):
    import sentry_sdk
    from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

    if event == "set up":
        sentry_sdk.init(dsn=os.environ["DSN"], integrations=[AwsLambdaIntegration()])
        sentry_sdk.capture_message("set up")
        return "set up"
    raise ValueError("later")
