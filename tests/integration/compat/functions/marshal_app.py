"""The override point of AWS's client: another marshaller."""

import datetime
import json

from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller


class Marshaller(LambdaMarshaller):
    def unmarshal_request(self, request, content_type="application/json"):
        return {"wrapped": super().unmarshal_request(request, content_type)}

    def marshal_response(self, response):
        if response is None:
            raise FaultException(FaultException.MARSHAL_ERROR, "nothing to say", None)
        if isinstance(response, str):
            return super().marshal_response(response)
        return json.dumps(response, default=str), "application/vnd.own+json"


LambdaRuntimeClient.marshaller = Marshaller()


def handler(event, context):
    if event["wrapped"] == "nothing":
        return None
    if event["wrapped"] == "text":
        return "text"
    return {"event": event, "on": datetime.date(2026, 1, 1)}
