"""Headers kept in AWS's secret stores: got when needed, renewed when refused, not shown."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fake_collector import Answer, FakeCollector
from lambdascope.wire import names
from lambdascope_extension.aws_calls import AwsCalls, AwsError
from stores import REGION, Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from extension_fakes import Function

    Start = Callable[..., Function]

pytestmark = pytest.mark.compat

HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
VALUE = "s3cr3t-v4lue"


@pytest.fixture(scope="module")
def stores(compat_python: Path) -> Iterator[Stores]:
    """Secrets Manager, Systems Manager and KMS."""
    with Stores(compat_python) as made:
        yield made


def test_header_from_secrets_manager(
    start: Start, collector: FakeCollector, stores: Stores, tmp_path: Path
) -> None:
    """The value reaches the collector and nothing else: no line, no argument, no file, no body."""
    arn = stores.secret("one", VALUE)
    function = start(**stores.variables, **{HEADERS: f"authorization=Bearer%20{arn}"})
    pid = function.extension.pid
    assert 0 < function.invoke("a")
    shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    function.shut_down()

    assert [f"Bearer {VALUE}"] == [one.headers["authorization"] for one in collector.requests]
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    bodies = b"".join(one.body for one in collector.requests)
    said = "".join(function.extension.lines).encode()
    assert VALUE.encode() not in shown + files + bodies + said
    assert "" == said.decode()


def test_key_of_a_json_secret_in_another_region(
    start: Start, collector: FakeCollector, stores: Stores
) -> None:
    """What follows # picks a value, and the ARN's region is the one that is asked."""
    arn = stores.secret("two", json.dumps({"a": "no", "key": VALUE}), "us-west-2")
    function = start(**stores.variables, **{HEADERS: f"x-key={arn}%23key"})
    function.invoke("a")

    assert VALUE == collector.requests[0].headers["x-key"]


def test_parameter(start: Start, collector: FakeCollector, stores: Stores) -> None:
    """The ARN of a parameter of Systems Manager does as well; it is decrypted."""
    stores.call("ssm", "put_parameter", Name="/keys/a", Value=VALUE, Type="SecureString")
    arn = f"arn:aws:ssm:{REGION}:123456789012:parameter/keys/a"
    function = start(**stores.variables, **{HEADERS: f"x-key={arn}"})
    function.invoke("a")

    assert VALUE == collector.requests[0].headers["x-key"]


@pytest.mark.parametrize("text", ["x-a=1,X-B=two%20words", '{"x-a": "1", "X-B": "two words"}'])
def test_secret_with_all_headers(
    start: Start, collector: FakeCollector, stores: Stores, text: str
) -> None:
    """One secret may hold the whole list of headers, in either form."""
    arn = stores.secret(f"all-{text[0]}", text)
    function = start(**stores.variables, LAMBDASCOPE_HEADERS_SECRET_ARN=arn)
    function.invoke("a")

    headers = collector.requests[0].headers
    assert ("1", "two words") == (headers["x-a"], headers["x-b"])


def test_rotation(start: Start, collector: FakeCollector, stores: Stores) -> None:
    """A refused key is asked for again, and the batch goes out with the new one."""
    arn = stores.secret("rotated", "old")
    function = start(**stores.variables, **{HEADERS: f"x-key={arn}", names.ENV_FLUSH: "end"})
    function.invoke("a")
    stores.call("secretsmanager", "put_secret_value", SecretId=arn, SecretString="new")
    collector.plan(Answer(401))
    function.invoke("b")
    function.invoke("c")

    assert [("old", 200), ("old", 401), ("new", 200), ("new", 200)] == [
        (one.headers["x-key"], one.status) for one in collector.requests
    ]
    assert ["a", "b", "c"] == collector.spans
    assert "" == function.shut_down()


def test_key_that_stays_wrong(start: Start, collector: FakeCollector, stores: Stores) -> None:
    """A key that is the same when got anew is not sent again; the loss is said and counted."""
    arn = stores.secret("wrong", "wrong")
    collector.plan(*[Answer(403)] * 9)
    function = start(**stores.variables, **{HEADERS: f"x-key={arn}"})
    function.invoke("a")
    function.invoke("b")
    line = function.extension.wait_line("403")
    last = function.shut_down()

    assert 2 == len(collector.requests)
    assert f"check {HEADERS}" in line
    assert "dropped (status_403 2)" in last


def test_secret_that_is_not_there(start: Start, collector: FakeCollector, stores: Stores) -> None:
    """A secret that cannot be read is said with its remedy; what would be sent is kept, counted."""
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:none-AbCdEf"
    function = start(**stores.variables, **{HEADERS: f"x-key={arn}"})
    function.invoke("a")
    line = function.extension.wait_line("ResourceNotFoundException")
    last = function.shut_down()

    assert [] == collector.requests
    assert "kept for another try; check the permissions of the function's role" in line
    assert "traces: 1 spans accepted, 0 exported" in last


def test_kms(stores: Stores) -> None:
    """A ciphertext is decrypted, whether it was made with the function's name as context or not."""
    aws = AwsCalls(stores.variables)
    plain = stores.encrypted(VALUE)
    bound = stores.encrypted(VALUE, LambdaFunctionName="shop")
    foreign = stores.encrypted(VALUE, LambdaFunctionName="other")

    assert [VALUE, VALUE] == [aws.decrypted(plain, 10), aws.decrypted(bound, 10)]
    with pytest.raises(AwsError, match="InvalidCiphertext"):
        aws.decrypted(foreign, 10)


def test_credentials_of_a_restored_function(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys in the environment they come from the container address, past any proxy."""
    arn = stores.secret("restored", VALUE)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    found = {"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "T", "Expiration": expires}
    with FakeCollector(*[Answer(200, body=json.dumps(found).encode())] * 2) as address:
        aws = AwsCalls(
            {
                "AWS_REGION": REGION,
                "AWS_ENDPOINT_URL": stores.url.replace("127.0.0.1", "localhost"),
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{address.endpoint}/2021-04-23/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": "permit",
            }
        )
        values = [aws.secret(arn, 10), aws.secret(arn, 10)]
        known = aws.credentials(10)
        aws.forget()
        aws.credentials(10)

    assert [VALUE, VALUE] == values
    assert ("AK", "SK", "T") == (known.key_id, known.secret, known.token)
    assert ["permit"] * 2 == [one.headers["authorization"] for one in address.requests]


@pytest.mark.parametrize("way", ["secret", "kms"])
def test_datadog_key_in_a_store(
    start: Start, collector: FakeCollector, stores: Stores, way: str
) -> None:
    """Datadog's own variables for a stored key do with its name as destination."""
    if way == "secret":
        stored = {"DD_API_KEY_SECRET_ARN": stores.secret("datadog", VALUE)}
    else:
        stored = {"DD_KMS_API_KEY": stores.encrypted(VALUE, LambdaFunctionName="shop")}
    function = start(
        **stores.variables,
        **stored,
        LAMBDASCOPE_DESTINATION="datadog",
        LAMBDASCOPE_DATADOG_ENDPOINT=collector.endpoint,
        OTEL_EXPORTER_OTLP_ENDPOINT="",
    )
    function.invoke("a")

    assert VALUE == collector.requests[0].headers["dd-api-key"]
    assert "" == function.shut_down()


def test_new_relic_key_in_a_store(start: Start, collector: FakeCollector, stores: Stores) -> None:
    """Two destinations at once have a thread and a key each: a parameter's name, and a JSON key."""
    stores.call("ssm", "put_parameter", Name="/nr", Value=VALUE, Type="SecureString")
    arn = stores.secret("grafana", json.dumps({"token": "pass"}))
    with FakeCollector() as grafana:
        function = start(
            **stores.variables,
            LAMBDASCOPE_DESTINATION="newrelic,grafana",
            LAMBDASCOPE_NEWRELIC_ENDPOINT=collector.endpoint,
            LAMBDASCOPE_GRAFANA_ENDPOINT=grafana.endpoint,
            NEW_RELIC_LICENSE_KEY_SSM_PARAMETER_NAME="/nr",
            GRAFANA_CLOUD_ZONE="z",
            GRAFANA_CLOUD_INSTANCE_ID="123",
            GRAFANA_CLOUD_API_KEY=f"{arn}#token",
            OTEL_EXPORTER_OTLP_ENDPOINT="",
        )
        function.invoke("a")

        assert (VALUE, "Basic MTIzOnBhc3M=") == (
            collector.requests[0].headers["api-key"],
            grafana.requests[0].headers["authorization"],
        )
        assert "" == function.shut_down()
