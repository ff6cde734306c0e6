"""A sender for destinations whose headers are secrets of AWS, or whose requests AWS wants signed.

It is put around one of the other senders and lives in the exporter's thread, which loads it where a
destination needs it. A secret is asked for when the first batch is to be sent, within that batch's
time, and once more when the destination does not take it. Values stay in this process's memory.
"""

from __future__ import annotations

from binascii import b2a_base64
from time import monotonic, time

from lambdascope_extension.answers import CUT, RETRY, Result
from lambdascope_extension.aws_calls import AwsCalls, AwsError
from lambdascope_extension.destination import BASIC, HEADERS, KMS, PARAMETER, header_text
from lambdascope_extension.export_config import parse_headers
from lambdascope_extension.sigv4 import Signer, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope_extension.destination import Destination, Secret
    from lambdascope_extension.exporter import Job, SendsBatches

_REFUSED_KEYS = (401, 403)
_HINT = "check the permissions of the function's role, and the name of the secret"


class AuthorizedSender:
    """`inner` does the sending; `environ` is what the calls to AWS need."""

    def __init__(self, inner: SendsBatches, environ: Mapping[str, str]) -> None:
        self._inner = inner
        self._aws = AwsCalls(environ)
        self._values: dict[tuple[str, str], str] = {}
        # Whether keys were got anew since one was taken: not again for each refused batch.
        self._has_renewed = False

    def cut(self) -> None:
        """End the `send` that is under way, now; it returns a Result all the same."""
        self._aws.cut()
        self._inner.cut()

    def send(self, job: Job) -> Result:
        """Export a batch. Raises nothing but what is a fault of ours."""
        started = monotonic()
        self._aws.allow()
        if job.is_cut:
            return Result(CUT)
        until = started + job.timeout_s
        try:
            result = self._send(job, until)
            if result.status in _REFUSED_KEYS and not self._has_renewed:
                self._has_renewed = True
                before = dict(self._values)
                self._values.clear()
                self._aws.forget()
                self._prepare(job, until)
                if job.destination.service or before != self._values:
                    result = self._send(job, until)
            if result.status and result.status not in _REFUSED_KEYS:
                self._has_renewed = False
        except AwsError as error:
            # Kept, also where only a person can help: it may be before the batch is too old.
            result = Result(CUT) if job.is_cut else Result(RETRY, reason=str(error), hint=_HINT)
        result.elapsed = monotonic() - started
        return result

    def close(self) -> None:
        """Close the connections that are kept."""
        self._aws.forget()
        self._inner.close()

    def _send(self, job: Job, until: float) -> Result:
        self._prepare(job, until)
        job.timeout_s = max(0.001, until - monotonic())
        return self._inner.send(job)

    def _prepare(self, job: Job, until: float) -> None:
        """Give the destination its headers. Raises AwsError."""
        destination = job.destination
        for name, secret in destination.secrets.items():
            value = self._value(secret, until)
            if secret.how == HEADERS:
                destination.headers |= _header_list(value, secret.reference)
            else:
                destination.headers[name] = _header(value, secret)
        if destination.service:
            credentials = self._aws.credentials(_left(until))
            self._sign_with(
                destination,
                Signer(credentials, service=destination.service, region=destination.region),
            )

    def _sign_with(self, destination: Destination, signer: Signer) -> None:
        own = {name: header_text(value) for name, value in destination.headers.items()}

        def sign(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
            return signer.sign(destination.url, {**own, **headers}, body, now=time())

        destination.sign = sign

    def _value(self, secret: Secret, until: float) -> str:
        key = (secret.how, secret.reference)
        if key not in self._values:
            aws, left = self._aws, _left(until)
            if secret.how == KMS:
                value = aws.decrypted(secret.reference, left)
            elif secret.how == PARAMETER:
                value = aws.parameter(secret.reference, left)
            else:
                value = aws.secret(secret.reference, left)
            self._values[key] = value.strip()
        return self._values[key]


def _left(until: float) -> float:
    return max(0.001, until - monotonic())


def _header(value: str, secret: Secret) -> bytes:
    raw = value.encode("utf-8", "replace")
    if any(byte < 32 or byte == 127 for byte in raw):
        raise AwsError(f"{_shown(secret)} holds a line break or another control character")
    if secret.how == BASIC:
        return b"Basic " + b2a_base64(secret.prefix + raw, newline=False)
    return secret.prefix + raw


def _header_list(value: str, reference: str) -> dict[str, bytes]:
    """Headers as the standard variable has them, or a JSON object of them."""
    if value.startswith("{"):
        from json import loads

        try:
            pairs = loads(value).items()
        except ValueError:
            pairs = ()
        # The same checks for both forms: a line break in a value would be an injection.
        value = ",".join(f"{name}={quoted(str(one).encode())}" for name, one in pairs)
    found, wrong = parse_headers(value)
    if wrong or not found:
        raise AwsError(f"{reference} is neither name=value,name=value nor a JSON object")
    return found


def _shown(secret: Secret) -> str:
    return "a value from KMS" if secret.how == KMS else secret.reference
