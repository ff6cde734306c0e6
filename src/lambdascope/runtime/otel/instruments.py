"""OpenTelemetry's instrumentors: which library has which, and how one is applied.

Loaded when a library that has one is first imported; no distribution is looked at. What is in the
table is found by name alone, other instrumentors by an index file (`lambdascope index`). A package
that is not installed is nothing to talk about; one that fails is said, and the library works
without it. Names: the entry points of opentelemetry-python-contrib, group
opentelemetry_instrumentor.
"""

from __future__ import annotations

import os
import sys

from lambdascope.runtime.faults import text_of
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

    from lambdascope.runtime.import_watch import ImportWatch

_PACKAGE = "opentelemetry.instrumentation."
# In a line: the library's module; the instrumentor's module in the package above, and its class;
# the name of its entry point, if that is another. Modules are chosen so that all that is to be
# wrapped is there once their code has run.
_TABLE = """\
aio_pika aio_pika AioPikaInstrumentor
aiobotocore.client botocore AiobotocoreInstrumentor aiobotocore
aiohttp aiohttp_client AioHttpClientInstrumentor
aiohttp.web aiohttp_server AioHttpServerInstrumentor
aiokafka aiokafka AIOKafkaInstrumentor
aiopg aiopg AiopgInstrumentor
asyncpg asyncpg AsyncPGInstrumentor
boto3 boto3sqs Boto3SQSInstrumentor boto3
botocore.client botocore BotocoreInstrumentor
cassandra.cluster cassandra CassandraInstrumentor
celery celery CeleryInstrumentor
confluent_kafka confluent_kafka ConfluentKafkaInstrumentor
elasticsearch elasticsearch ElasticsearchInstrumentor
falcon falcon FalconInstrumentor
fastapi fastapi FastAPIInstrumentor
flask flask FlaskInstrumentor
grpc grpc GrpcInstrumentorClient grpc_client
grpc.aio grpc GrpcAioInstrumentorClient grpc_aio_client
httpx httpx HTTPXClientInstrumentor
httpx2 httpx HTTPX2ClientInstrumentor httpx2
jinja2 jinja2 Jinja2Instrumentor
kafka kafka KafkaInstrumentor
mysql.connector mysql MySQLInstrumentor
MySQLdb mysqlclient MySQLClientInstrumentor
openai openai_v2 OpenAIInstrumentor openai
pika pika PikaInstrumentor
psycopg psycopg PsycopgInstrumentor
psycopg2 psycopg2 Psycopg2Instrumentor
pymemcache pymemcache PymemcacheInstrumentor
pymongo pymongo PymongoInstrumentor
pymssql pymssql PyMSSQLInstrumentor
pymysql pymysql PyMySQLInstrumentor
pyramid.config pyramid PyramidInstrumentor
redis redis RedisInstrumentor
remoulade remoulade RemouladeInstrumentor
requests requests RequestsInstrumentor
sqlalchemy sqlalchemy SQLAlchemyInstrumentor
sqlite3 sqlite3 SQLite3Instrumentor
starlette starlette StarletteInstrumentor
tornado.web tornado TornadoInstrumentor
tortoise tortoiseorm TortoiseORMInstrumentor
urllib.request urllib URLLibInstrumentor
urllib3 urllib3 URLLib3Instrumentor
vertexai vertexai VertexAIInstrumentor
"""
# The same, for those that are applied on request only.
_ON_REQUEST = """\
asyncclick asyncclick AsyncClickInstrumentor
asyncio asyncio AsyncioInstrumentor
click click ClickInstrumentor
django.core.handlers.base django DjangoInstrumentor
psutil system_metrics SystemMetricsInstrumentor
threading threading ThreadingInstrumentor
"""


class Instrumentor:
    """One of them: `target` is the library's module, `name` what people choose it by."""

    __slots__ = ("kind", "module", "name", "target")

    def __init__(self, target: str, module: str, kind: str, name: str) -> None:
        self.target = target
        self.module = module
        self.kind = kind
        self.name = _plain(name)

    def is_among(self, chosen: Iterable[str]) -> bool:
        """Whether one of these names is its own or that of its library."""
        own = {self.name, _plain(self.target), _plain(self.target.partition(".")[0])}
        return not own.isdisjoint(map(_plain, chosen))


class Instruments:
    """What is to be instrumented in this process. `index` is the index file's text.

    `chosen` are the names that the user gave, None for all that is installed.
    """

    def __init__(
        self,
        watch: ImportWatch,
        chosen: tuple[str, ...] | None,
        index: str,
        say: Callable[[str], None],
    ) -> None:
        self._watch = watch
        self._say = say
        self._on_request = chosen is not None
        disabled = os.environ.get(names.ENV_DISABLED_INSTRUMENTATIONS, "").strip()
        left_out = [] if disabled in ("", "*") else disabled.split(",")
        known = [*known_instrumentors(on_request=chosen is not None), *from_index(index)]
        self._wanted = [
            one
            for one in known
            if disabled != "*"
            and not one.is_among(left_out)
            and (chosen is None or one.is_among(chosen))
        ]
        for name in chosen or ():
            if not any(one.is_among([name]) for one in known):
                say(
                    f"{names.ENV_INSTRUMENT}: {name[:40]!r} is no library with an instrumentor "
                    "that is known; `lambdascope index` makes others known"
                )

    def targets(self) -> list[str]:
        """The modules that are waited for."""
        return [one.target for one in self._wanted]

    def apply(self, target: str) -> None:
        """The library's module has been loaded."""
        for one in self._wanted:
            if one.target != target:
                continue
            if _is_being_imported(one.module):
                # By the function, which then probably applies it itself; else it is done later.
                self._watch.when_settled(one.module, lambda _, one=one: self._apply(one))  # type: ignore[misc]  # its type is that of `one`
            else:
                self._apply(one)

    def _apply(self, one: Instrumentor) -> None:
        try:
            made = _load(one)
            if made is None and self._on_request:
                self._say(f"{names.ENV_INSTRUMENT}: {one.name}: {one.module} is not installed")
            if made is None or getattr(made, "is_instrumented_by_opentelemetry", False):
                return
            made.instrument(skip_dep_check=True)
            _make_way(made)
        except Exception as fault:  # noqa: BLE001 - this runs inside an import of the function
            self._say(
                f"{one.target} is not traced: its instrumentor {one.module} failed "
                f"({type(fault).__name__}: {text_of(fault)}); "
                f"{names.ENV_DISABLED_INSTRUMENTATIONS}={one.name} leaves it out"
            )


def known_instrumentors(*, on_request: bool) -> list[Instrumentor]:
    """Those that need no index."""
    found = []
    for line in (_TABLE + _ON_REQUEST if on_request else _TABLE).splitlines():
        target, module, kind, *name = line.split()
        found.append(Instrumentor(target, _PACKAGE + module, kind, name[0] if name else module))
    return found


def from_index(text: str) -> list[Instrumentor]:
    """Those of an index file: lines of `target module:Class [name]`; others are passed over."""
    found = []
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) > 1 and fields[1].count(":") == 1:
            module, _, kind = fields[1].partition(":")
            found.append(Instrumentor(fields[0], module, kind, (fields + fields)[2]))
    return found


def _load(one: Instrumentor) -> Any:
    """The instrumentor, which is one in a process; None where its package is not installed."""
    try:
        __import__(one.module)
    except ModuleNotFoundError as error:
        if f"{one.module}.".startswith(f"{error.name}."):
            return None
        raise
    return getattr(sys.modules[one.module], one.kind)()


def _is_being_imported(name: str) -> bool:
    module: ModuleType | None = sys.modules.get(name)
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _make_way(made: Any) -> None:
    """Let the function instrument the library with options of its own, in place of ours."""

    def instrument(*args: object, **options: object) -> object:
        vars(made).pop("instrument", None)
        if made.is_instrumented_by_opentelemetry:
            made.uninstrument()
        return made.instrument(*args, **options)

    if hasattr(made, "is_instrumented_by_opentelemetry") and hasattr(made, "__dict__"):
        made.instrument = instrument


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")
