"""Where events come from, and the shapes of the samples."""

from __future__ import annotations

import base64
import hashlib
import io
import json

import pytest

from lambdascope.cli.errors import CommandError
from lambdascope.cli.sample_events import read_event, sample_lines, sample_names
from lambdascope.wire.names import MAX_PAYLOAD_BYTES

NO_INPUT = io.BytesIO()


def _sample(name):
    return json.loads(read_event(name, NO_INPUT))


def test_an_event_reaches_the_function_byte_for_byte(tmp_path, monkeypatch):
    """Blanks and escapes stay as they were written, wherever the event comes from."""
    monkeypatch.chdir(tmp_path)
    text = ' {"a":\t1.0, "b": "\\u00e9"}\n'
    (tmp_path / "event.json").write_text(text)
    assert text.encode() == read_event("event.json", NO_INPUT)
    assert text.encode() == read_event("-", io.BytesIO(text.encode()))
    assert text.encode() == read_event(text, NO_INPUT)


@pytest.mark.parametrize("text", ["[1]", '"x"', "17", "-2.5", "null", "true"])
def test_any_json_value_is_an_event(text):
    """Lambda takes every JSON value."""
    assert text.encode() == read_event(text, NO_INPUT)


def test_a_file_goes_before_a_sample_of_the_same_name(tmp_path, monkeypatch):
    """What is written down by the user wins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sqs").write_text("1")
    assert read_event("sqs", NO_INPUT) == b"1"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1,\n "b" 2}', "is not JSON: Expecting ':' delimiter at line 2 column 6"),
        (b"{'a': 1}", "at line 1 column 2"),
        (b"", "is empty"),
        (b"\xff\xfe1", "is not UTF-8: byte 0"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": NaN}', "NaN is Python's, not JSON's"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"' + b"x" * MAX_PAYLOAD_BYTES + b'"', "Lambda takes events of at most"),
    ],
)
def test_what_is_no_event_is_one_line_with_the_file_and_the_position(tmp_path, content, expected):
    """The line says which file, what is wrong and where."""
    path = tmp_path / "event.json"
    path.write_bytes(content)
    with pytest.raises(CommandError) as caught:
        read_event(str(path), NO_INPUT)
    line = str(caught.value)
    assert expected in line
    assert str(path) in line
    assert "\n" not in line


def test_an_unknown_name_lists_the_samples(tmp_path, monkeypatch):
    """Where it looked, and what there is instead."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=r"no such file in .*samples: alb, apigw, "):
        read_event("sqss.json", NO_INPUT)


def test_every_sample_is_json_and_described():
    """A new file in the folder needs a line of its own in the list."""
    lines = list(sample_lines())
    assert len(sample_names()) == len(lines) >= 12
    for name, line in zip(sample_names(), lines, strict=True):
        assert isinstance(_sample(name), dict)
        assert line.startswith(name)
        assert len(line.split()) > 2


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("sqs", "aws:sqs"),
        ("kinesis", "aws:kinesis"),
        ("dynamodb", "aws:dynamodb"),
        ("s3", "aws:s3"),
    ],
)
def test_batches_name_their_source_and_region(name, source):
    """Every record of a batch says where it comes from, as Lambda's pollers do."""
    records = _sample(name)["Records"]
    assert {source} == {record["eventSource"] for record in records}
    assert {"us-east-1"} == {record["awsRegion"] for record in records}


def test_the_sqs_sample_is_consistent():
    """The checksum is that of the body, and two of three messages carry a trace."""
    records = _sample("sqs")["Records"]
    for record in records:
        assert hashlib.md5(record["body"].encode()).hexdigest() == record["md5OfBody"]
        assert isinstance(json.loads(record["body"]), dict)
    traced = ["AWSTraceHeader" in record["attributes"] for record in records]
    assert traced == [True, True, False]


def test_the_kinesis_sample_holds_base64():
    """The data of a record is encoded, as Lambda hands it out."""
    for record in _sample("kinesis")["Records"]:
        assert isinstance(json.loads(base64.b64decode(record["kinesis"]["data"])), dict)


def test_the_http_samples_differ_as_the_payload_formats_do():
    """Format 1.0 has httpMethod and multi-value maps, 2.0 has version, rawPath and cookies."""
    one, two, url = _sample("apigw"), _sample("http"), _sample("url")
    assert one["httpMethod"] == one["requestContext"]["httpMethod"] == "POST"
    assert set(one["headers"]) == set(one["multiValueHeaders"])
    assert "2.0" == two["version"] == url["version"]
    assert two["requestContext"]["http"]["path"] == two["rawPath"]
    assert "pathParameters" in two
    assert "lambda-url" in url["requestContext"]["domainName"]
    assert {"elb"} == set(_sample("alb")["requestContext"])
    for event in (one, two, url):
        assert len(event["body"]) == 14
