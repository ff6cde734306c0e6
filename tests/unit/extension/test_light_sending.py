"""What an export loads: https, signatures and stored secrets without `requests` and `ssl`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from extension_fakes import EXECUTABLE
from fake_collector import ENDPOINT, Answer, FakeCollector, traces
from tls_kit import HAS_OPENSSL, Authority, TlsFront

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
HEAVY = ("requests", "urllib3", "ssl", "socket", "http.client", "email", "urllib.parse", "typing")
# One export in an interpreter that has loaded nothing else: what became of it, what was loaded.
CODE = f"""
import os, sys
root, body = sys.argv[1:]
sys.path += [root + "/src", root + "/extension"]
from lambdascope_extension.batch import Batch, Message
from lambdascope_extension.exporter import Job, loader
from lambdascope_extension.presets import read_destinations
from lambdascope_extension.export_config import read_export_config
environ = dict(os.environ)
named = "LAMBDASCOPE_DESTINATION" in environ
config = read_destinations(environ, own_port=0)[0] if named else read_export_config(
    environ, own_port=0)
one = config.destinations["traces"]
message = Message(signal="traces", kind="application/x-protobuf", body=bytes.fromhex(body),
                  items=1, received=1.0)
job = Job(Batch([message]), one, timeout_s=10, started=0.0, wants_new_connection=False)
result = loader([one], environ)().send(job)
print(result.outcome, result.reason, *[name for name in {HEAVY!r} if name in sys.modules])
"""


def exported(variables: dict[str, str]) -> str:
    """What an interpreter of its own says."""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", CODE, str(EXECUTABLE.parents[2]), traces("a").hex()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=variables,
    )
    return done.stdout.strip() + done.stderr


@pytest.mark.skipif(not HAS_OPENSSL, reason="needs openssl to make certificates")
@pytest.mark.parametrize("way", ["plain", "signed", "stored", "restored", "proxy"])
def test_what_is_loaded(tmp_path: Path, way: str) -> None:
    """Over https nothing of `requests` is loaded, whoever asks for the key, but for a proxy."""
    authority = Authority(tmp_path)
    certificate = authority.certificate("server")
    found = Answer(200, body=b'{"SecretString": "x-key=v"}')
    expires = b'"Expiration": "2999-01-01T00:00:00Z"'
    keys = Answer(200, body=b'{"AccessKeyId": "K", "SecretAccessKey": "S", %s}' % expires)
    with (
        FakeCollector() as collector,
        FakeCollector(found) as store,
        FakeCollector(keys) as address,
        TlsFront(collector.endpoint, certificate) as front,
        TlsFront(store.endpoint, certificate) as secrets,
    ):
        variables = {ENDPOINT: front.endpoint, "SSL_CERT_FILE": str(authority.file)}
        signed = {
            "LAMBDASCOPE_DESTINATION": "aws-xray",
            "LAMBDASCOPE_AWS_XRAY_ENDPOINT": front.endpoint,
        }
        variables |= {
            "plain": {},
            "signed": {**signed, **KEYS},
            "stored": {
                **KEYS,
                "AWS_ENDPOINT_URL": secrets.endpoint,
                "LAMBDASCOPE_HEADERS_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:s",
            },
            "restored": {
                **signed,
                "AWS_REGION": "eu-west-1",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{address.endpoint}/credentials",
            },
            "proxy": {**signed, **KEYS, "https_proxy": "http://127.0.0.1:9", "no_proxy": "*"},
        }[way]
        said = exported(variables)

    heavy = " ".join(HEAVY) if way == "proxy" else ""
    assert f"exported  {heavy}".strip() == said
    headers = collector.requests[0].headers
    assert ("v" if way == "stored" else None) == headers.get("x-key")
    assert (way in ("signed", "restored", "proxy")) == ("authorization" in headers)
    assert ("Credential=K/" in headers.get("authorization", "")) == (way == "restored")
