"""The few calls to AWS that the extension makes: its credentials, and secrets from three stores.

Loaded in the exporter's thread, where a destination needs it. Nothing here prints, and no error has
a value of a secret or a key in it. Sources: AWS API references of Secrets Manager, Systems Manager
and KMS; AWS SDKs reference guide, "Container credential provider" and "Service-specific endpoints".
"""

from __future__ import annotations

from binascii import a2b_base64
from time import time

from lambdascope.wire import names
from lambdascope_extension.aws_http import AwsHttp, Call, NoAnswer
from lambdascope_extension.sigv4 import Credentials, Signer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# As AWS's libraries do, so that nothing is signed with what ends on its way.
_RENEW_BEFORE_S = 300.0
# Of each service: what its name is in variables, and before the name of an action.
_STORES = {
    "secretsmanager": ("SECRETS_MANAGER", "secretsmanager"),
    "ssm": ("SSM", "AmazonSSM"),
    "kms": ("KMS", "TrentService"),
}


class AwsError(Exception):
    """A call that failed; the text is for people. `may_pass`: it may be another time."""

    def __init__(self, text: str, *, may_pass: bool = True) -> None:
        super().__init__(text)
        self.may_pass = may_pass


class AwsCalls:
    """`environ` holds the credentials or where they are, the region and the endpoints."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._http = AwsHttp(environ)
        self._credentials: Credentials | None = None

    def allow(self) -> None:
        """Calls may be made again."""
        self._http.allow()

    def cut(self) -> None:
        """End the call that is under way; from another thread."""
        self._http.cut()

    def forget(self) -> None:
        """Get the credentials anew."""
        self._credentials = None

    def credentials(self, timeout_s: float) -> Credentials:
        """Those of the environment, or of the address that a restored function has. AwsError."""
        known = self._credentials
        if known is None or (known.expires and time() > known.expires - _RENEW_BEFORE_S):
            known = self._credentials = self._from_environ() or self._from_address(timeout_s)
        return known

    def secret(self, reference: str, timeout_s: float) -> str:
        """The value of a secret or a parameter. `#key` after the ARN picks one of a JSON object."""
        arn, _, key = reference.partition("#")
        _, _, service, region, *_ = [*arn.split(":"), "", "", "", ""]
        if arn.startswith("arn:") and service == "ssm":
            given = {"Name": arn, "WithDecryption": True}
            value = self._call("ssm", "GetParameter", given, region, timeout_s)
            text = value.get("Parameter", {}).get("Value")
        else:
            given = {"SecretId": arn}
            region = region if arn.startswith("arn:") else ""
            value = self._call("secretsmanager", "GetSecretValue", given, region, timeout_s)
            text = value.get("SecretString")
            if text is None and "SecretBinary" in value:
                text = _decoded(value, "SecretBinary", "latin-1")
        if not isinstance(text, str):
            raise AwsError(f"{arn} has no text", may_pass=False)
        return _picked(text, key, arn) if key else text

    def parameter(self, name: str, timeout_s: float) -> str:
        """The value of a parameter of Systems Manager by its name."""
        given = {"Name": name, "WithDecryption": True}
        value = self._call("ssm", "GetParameter", given, "", timeout_s)
        return str(value.get("Parameter", {}).get("Value", ""))

    def decrypted(self, ciphertext: str, timeout_s: float) -> str:
        """The text of a base64 ciphertext of KMS.

        Lambda's console encrypts with the function's name as context, other tools without one.
        """
        context = {"LambdaFunctionName": self._environ.get(names.ENV_FUNCTION_NAME, "")}
        given: dict[str, object] = {"CiphertextBlob": ciphertext}
        try:
            value = self._call("kms", "Decrypt", given, "", timeout_s)
        except AwsError as error:
            if "InvalidCiphertext" not in str(error):
                raise
            with_context = {**given, "EncryptionContext": context}
            value = self._call("kms", "Decrypt", with_context, "", timeout_s)
        return _decoded(value, "Plaintext", "utf-8")

    def _from_environ(self) -> Credentials | None:
        get = self._environ.get
        key_id, secret = get(names.ENV_ACCESS_KEY_ID), get(names.ENV_SECRET_ACCESS_KEY)
        if not key_id or not secret:
            return None
        return Credentials(key_id, secret, token=get(names.ENV_SESSION_TOKEN, ""))

    def _from_address(self, timeout_s: float) -> Credentials:
        url = self._environ.get(names.ENV_CREDENTIALS_URI, "")
        if not url:
            raise AwsError(
                f"there are no AWS credentials: neither {names.ENV_ACCESS_KEY_ID} nor "
                f"{names.ENV_CREDENTIALS_URI} is set",
                may_pass=False,
            )
        headers = {"authorization": self._environ.get(names.ENV_CREDENTIALS_TOKEN, "")}
        # An address inside the environment, which no proxy can reach.
        found = self._found(Call(url, headers, timeout_s=timeout_s, direct=True))
        try:
            return Credentials(
                found["AccessKeyId"],
                found["SecretAccessKey"],
                token=found.get("Token", ""),
                expires=_expires(found["Expiration"]),
            )
        except (KeyError, TypeError, ValueError):
            raise AwsError(f"{names.ENV_CREDENTIALS_URI} gives no credentials") from None

    def _call(
        self, service: str, action: str, given: object, region: str, timeout_s: float
    ) -> dict[str, Any]:
        from json import dumps

        own, target = _STORES[service]
        get = self._environ.get
        region = region or get(names.ENV_REGION, "") or get(names.ENV_DEFAULT_REGION, "")
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        url = (
            get(f"{names.ENV_ENDPOINT_URL}_{own}", "")
            or get(names.ENV_ENDPOINT_URL, "")
            or f"https://{service}.{region}.{suffix}"
        )
        url = f"{url.rstrip('/')}/"
        body = dumps(given).encode()
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"{target}.{action}",
        }
        signer = Signer(self.credentials(timeout_s), service=service, region=region)
        headers |= signer.sign(url, headers, body, now=time())
        return self._found(Call(url, headers, body, timeout_s=timeout_s))

    def _found(self, call: Call) -> dict[str, Any]:
        from json import loads

        host = call.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        try:
            status, answer = self._http.answer(call)
        except NoAnswer as error:
            raise AwsError(f"no answer from {host}: {error}") from None
        try:
            found = loads(answer)
        except ValueError:
            found = None
        if status != names.OK or not isinstance(found, dict):
            kind = str(found.get("__type", "")) if isinstance(found, dict) else ""
            kind = kind.rpartition("#")[2][:80]
            # Throttled, or a server's fault.
            may_pass = status >= 500 or "Throttl" in kind
            raise AwsError(f"{host} answers {status} {kind}".strip(), may_pass=may_pass)
        return found


def _decoded(found: dict[str, Any], key: str, encoding: str) -> str:
    try:
        return a2b_base64(found[key]).decode(encoding)
    except (KeyError, TypeError, ValueError):
        raise AwsError(f"{key} of AWS's answer is no text", may_pass=False) from None


def _expires(text: str) -> float:
    from lambdascope_extension.records.record import parse_time

    seconds = parse_time(text) / 1e9
    if not seconds:
        raise ValueError
    return seconds


def _picked(text: str, key: str, arn: str) -> str:
    from json import loads

    try:
        value = loads(text)[key]
    except (ValueError, KeyError, TypeError):
        raise AwsError(f"{arn} is no JSON object with the key {key!r}", may_pass=False) from None
    return str(value)
