"""A sample function for `scripts/demo`: adds up an order with the prices of a small database."""

import decimal
import logging
import sqlite3
import xml.etree.ElementTree as ElementTree

logger = logging.getLogger()
logger.setLevel(logging.INFO)

CATALOGUE = "<catalogue><item name='tea' price='4.20'/><item name='cup' price='7.90'/></catalogue>"

# Made once, during init; every invocation of this execution environment uses it again.
database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("create table price (name text primary key, price text)")
for item in ElementTree.fromstring(CATALOGUE):  # noqa: S314 - our own text
    database.execute("insert into price values (?, ?)", (item.get("name"), item.get("price")))


def handler(event, context):
    """Answer with the total of an order, and say how much time is left."""
    total = decimal.Decimal(0)
    for name, count in event["items"].items():
        (price,) = database.execute("select price from price where name = ?", (name,)).fetchone()
        total += count * decimal.Decimal(price)
    left_ms = context.get_remaining_time_in_millis()
    logger.info("order %s comes to %s, %s ms left", event["order"], total, left_ms)
    return {"order": event["order"], "total": str(total)}
