"""Signature Version 4: the values that AWS publishes, and the same as AWS's own library."""

from __future__ import annotations

from calendar import timegm
from time import strptime

import pytest

from lambdascope_extension.sigv4 import Credentials, Signer

HOST = "https://example.amazonaws.com"
NOW = timegm(strptime("20150830T123600Z", "%Y%m%dT%H%M%SZ"))
EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token="tok/en==")
SIGNER = Signer(EXAMPLE, service="service", region="us-east-1")
FORM = {"content-type": "application/x-www-form-urlencoded"}

# From AWS's test suite: method, path, headers, body, signature.
PUBLISHED = {
    "get-vanilla": (
        *("GET", "/", {}, b""),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        *("GET", "/?Param2=value2&Param1=value1", {}, b""),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "post-vanilla": (
        *("POST", "/", {}, b""),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "post-header-key-sort": (
        *("POST", "/", {"my-header1": "value1"}, b""),
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-x-www-form-urlencoded": (
        *("POST", "/", FORM, b"Param1=value1"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "get-utf8": (
        *("GET", "/%E1%88%B4", {}, b""),
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name: str) -> None:
    """Requests of AWS's test suite get the signatures that it publishes."""
    method, path, headers, body, signature = PUBLISHED[name]
    if name == "get-utf8":  # the suite's path is not encoded in the request
        path = "/ሴ"

    added = SIGNER.sign(f"{HOST}{path}", headers, body, now=NOW, method=method)

    assert signature == added["authorization"].rpartition("=")[2]
    assert "20150830T123600Z" == added["x-amz-date"]


@pytest.mark.peers
@pytest.mark.parametrize("credentials", [EXAMPLE, SESSION], ids=["lasting", "session"])
@pytest.mark.parametrize(
    "url",
    [
        "https://xray.eu-west-1.amazonaws.com/v1/traces",
        "https://logs.us-east-1.amazonaws.com/v1/logs",
        "https://monitoring.us-east-1.amazonaws.com:443/v1/metrics",
        "http://127.0.0.1:5000",
        "http://127.0.0.1:5000/a%20b/%C3%A4?x=1&y=&x=0",
    ],
)
def test_as_botocore(url: str, credentials: Credentials) -> None:
    """The signature is the one that AWS's own library makes for the same request and time."""
    auth = pytest.importorskip("botocore.auth", reason="needs botocore")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as TheirCredentials

    headers = {"content-type": "application/x-protobuf", "x-aws-log-group": "/aws/lambda/f  g"}
    request = AWSRequest("POST", url, headers=headers, data=b"body")
    theirs = TheirCredentials(credentials.key_id, credentials.secret, credentials.token or None)
    signer = auth.SigV4Auth(theirs, "xray", "eu-west-1")
    signer.add_auth(request)
    now = timegm(strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ"))

    ours = Signer(credentials, service="xray", region="eu-west-1").sign(
        url, headers, b"body", now=now
    )

    assert request.headers["Authorization"] == ours["authorization"]
    assert request.headers["X-Amz-Date"] == ours["x-amz-date"]
    assert request.headers.get("X-Amz-Security-Token") == ours.get("x-amz-security-token")
