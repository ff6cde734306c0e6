"""A function that uses Powertools as its documentation shows it; the event names the part."""

import decimal
import os

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import (
    APIGatewayHttpResolver,
    APIGatewayRestResolver,
    Response,
)
from aws_lambda_powertools.event_handler.exceptions import BadRequestError
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    AsyncBatchProcessor,
    BatchProcessor,
    EventType,
    async_process_partial_response,
    process_partial_response,
)
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
)

logger = Logger(service="orders")
tracer = Tracer(service="orders")
metrics = Metrics(namespace="shop", service="orders")
app = APIGatewayHttpResolver()
rest = APIGatewayRestResolver()
processor = BatchProcessor(event_type=EventType.SQS)
streams = {
    "kinesis": BatchProcessor(event_type=EventType.KinesisDataStreams),
    "dynamodb": BatchProcessor(event_type=EventType.DynamoDBStreams),
}


@logger.inject_lambda_context(log_event=True, correlation_id_path="id", clear_state=True)
def log(event, context):
    logger.append_keys(order=event["order"])
    logger.info("received", extra={"price": decimal.Decimal("1.50")})
    try:
        raise ValueError("no stock")
    except ValueError:
        logger.exception("failed")
    return {"keys": sorted(logger.get_current_keys())}


@tracer.capture_method
def charge(amount):
    tracer.put_annotation("amount", amount)
    return {"charged": amount}


@tracer.capture_lambda_handler
def trace(event, context):
    if event.get("fail"):
        raise ValueError("declined")
    return charge(event["amount"])


@metrics.log_metrics(capture_cold_start_metric=True)
def measure(event, context):
    metrics.add_metric(name="sold", unit=MetricUnit.Count, value=event["sold"])
    metrics.add_dimension(name="shop", value="north")
    return "measured"


def one_record(record):
    if record.json_body["bad"]:
        raise ValueError("bad record")
    return record.message_id


def batch(event, context):
    return process_partial_response(
        event=event, record_handler=one_record, processor=processor, context=context
    )


async def one_record_later(record):
    return one_record(record)


def async_batch(event, context):
    return async_process_partial_response(
        event=event,
        record_handler=one_record_later,
        processor=AsyncBatchProcessor(event_type=EventType.SQS),
        context=context,
    )


def stream_record(record):
    number = (
        record.kinesis.data_as_json()["n"] if "kinesis" in record else record.dynamodb.keys["n"]
    )
    if number == 2:
        raise ValueError("bad record")


def stream(event, context):
    return process_partial_response(
        event=event,
        record_handler=stream_record,
        processor=streams[event["Records"][0]["eventSource"].removeprefix("aws:")],
        context=context,
    )


@rest.get("/orders")
def all_orders():
    if rest.current_event.get_query_string_value("bad"):
        raise BadRequestError("no such page")
    return {"path": rest.current_event.path, "id": rest.lambda_context.aws_request_id}


def http_rest(event, context):
    return rest.resolve(event, context)


@app.get("/orders/<order_id>")
def get_order(order_id: str):
    function = app.lambda_context.function_name
    return {"order": order_id, "all": app.current_event.get("rawPath"), "function": function}


@app.post("/orders")
def make_order():
    return Response(status_code=201, content_type="text/plain", body="made")


def http(event, context):
    return app.resolve(event, context)


def idempotency():
    """DynamoDB inside this process, with the table that the documentation asks for."""
    from moto import mock_aws

    os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
    mock_aws().start()
    boto3.client("dynamodb").create_table(
        TableName="idempotency",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return DynamoDBPersistenceLayer(table_name="idempotency")


made = []


def pay_once(store=[]):  # noqa: B006 - one store for all calls
    if not store:
        config = IdempotencyConfig(event_key_jmespath="payment", raise_on_no_idempotency_key=True)

        @idempotent(persistence_store=idempotency(), config=config)
        def pay(event, context):
            made.append(event["payment"])
            return {"receipt": len(made), "by": context.aws_request_id}

        store.append(pay)
    return store[0]


def pay(event, context):
    return {"answer": pay_once()(event, context), "payments": made}


def handler(event, context):
    return globals()[event["part"]](event["event"], context)
