"""AWS's secret stores as moto has them, in a process of their own, for tests of the extension.

moto is in the environment with Powertools and its kin, not in the tests' own, so it is run there as
a server and told what to hold over a pipe. It checks no signatures; that ours are right is shown by
AWS's published values.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

REGION = "eu-west-1"
# What a function has in its environment.
VARIABLES = {
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-key",
    "AWS_SESSION_TOKEN": "token",
    "AWS_LAMBDA_FUNCTION_NAME": "shop",
}
_SERVER = """
import json, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"
import boto3
def client(name, region):
    return boto3.client(name, region_name=region, endpoint_url=url,
                        aws_access_key_id="x", aws_secret_access_key="x")
print(json.dumps(url), flush=True)
for line in sys.stdin:
    service, action, region, arguments = json.loads(line)
    for key in ("Plaintext", "SecretBinary"):
        if key in arguments:
            arguments[key] = arguments[key].encode()
    answer = getattr(client(service, region), action)(**arguments)
    print(json.dumps(answer, default=lambda one: one.hex() if isinstance(one, bytes) else ""),
          flush=True)
server.stop()
"""


class Stores:
    """Runs from `__enter__` to `__exit__`. `url` is where all services answer."""

    def __init__(self, python: Path) -> None:
        self._python = python
        self.url = ""

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a function whose AWS this is."""
        return {**VARIABLES, "AWS_ENDPOINT_URL": self.url}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self._python, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.url = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def call(self, service: str, action: str, region: str = REGION, **arguments: Any) -> Any:
        """Have boto3 call one of the services."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([service, action, region, arguments]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def secret(self, name: str, value: str, region: str = REGION) -> str:
        """Create a secret; its ARN."""
        made = self.call("secretsmanager", "create_secret", region, Name=name, SecretString=value)
        return str(made["ARN"])

    def encrypted(self, value: str, **context: str) -> str:
        """A ciphertext of KMS, in base64."""
        key = self.call("kms", "create_key")["KeyMetadata"]["KeyId"]
        found = self.call("kms", "encrypt", KeyId=key, Plaintext=value, EncryptionContext=context)
        import base64

        return base64.b64encode(bytes.fromhex(found["CiphertextBlob"])).decode()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "moto's server has ended: its environment lacks flask (scripts/install-peers)"
        return json.loads(line)
