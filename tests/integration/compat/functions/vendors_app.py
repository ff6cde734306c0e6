"""An ordinary function, without any vendor's library in it; each test puts one around it."""

import logging

logger = logging.getLogger()


def order(event, context):
    logger.warning("order %s", event["order"])
    if event["order"] < 0:
        raise ValueError("no such order")
    return {"order": event["order"], "id": context.aws_request_id}
