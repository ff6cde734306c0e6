"""Real ASGI applications as handlers, under the emulator, through the function URL and invoke."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.cli import sample_events
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from streaming_kit import Gate, Reader, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("starlette", reason="Starlette is not installed")
pytest.importorskip("fastapi", reason="FastAPI is not installed")
pytest.importorskip("django", reason="Django is not installed")

EVENTS = Path(sample_events.__file__).parent / "events"
OWN = (sys.executable, "-m", "lambdascope", "{handler}")
WAIT_S = 30

STARLETTE = """
import asyncio, contextlib
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
import lambdascope.asgi

@contextlib.asynccontextmanager
async def lifespan(app):
    beat = asyncio.create_task(asyncio.sleep(3600), name="beat")
    print("startup")
    yield {"beat": beat}
    beat.cancel()
    print("shutdown")

async def order(request):
    answer = JSONResponse({
        "id": request.path_params["id"], "body": (await request.body()).decode(),
        "url": str(request.url), "root": request.scope["root_path"],
        "tags": request.query_params.getlist("tag"), "cookies": request.cookies,
        "client": request.client.host, "beating": not request.state.beat.done(),
        "remaining": request.scope["aws.context"].get_remaining_time_in_millis() > 0})
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer

async def slow(request):
    async def pieces():
        yield "one"
        await asyncio.to_thread(lambda: open("gate").close())
        print("second chunk")
        yield "two"
    answer = StreamingResponse(pieces(), 201, {"X-Own": "yes"}, "text/plain")
    answer.set_cookie("a", "1")
    return answer

async def endless(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    piece = {"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True}
    try:
        while True: await send(piece)
    except OSError:
        print("told", (await receive())["type"])

async def late(request):
    async def pieces():
        yield "one"
        raise LookupError("midway")
    return StreamingResponse(pieces())

async def fails(request):
    raise LookupError("gone")

async def echo(request):
    return Response(await request.body(), media_type="image/png")

async def work():
    await asyncio.to_thread(lambda: open("gate").close())
    print("work is done")

routes = [
    Route("/orders/{id}", order, methods=["GET", "POST"]), Route("/slow", slow),
    Mount("/endless", endless), Route("/late", late), Route("/fails", fails),
    Route("/echo", echo, methods=["POST"]),
    Route("/later", lambda request: PlainTextResponse("ok", background=BackgroundTask(work)))]

app = Starlette(routes=routes, lifespan=lifespan)
handler = lambdascope.asgi.handler(app)
buffered = lambdascope.asgi.handler(app, stream=False)
"""

FASTAPI = """
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
import lambdascope.asgi

class Order(BaseModel):
    total: float

app = FastAPI()

@app.post("/orders/{number}")
async def order(number: int, order: Order, dry: bool = False):
    return {"number": number, "total": order.total, "dry": dry}

@app.get("/orders/{number}")
def read(number: int, dry: bool = False):
    return {"number": number, "dry": dry}

@app.get("/slow")
def slow():
    def pieces():
        yield "one"
        open("gate").close()
        print("second chunk")
        yield "two"
    return StreamingResponse(pieces(), media_type="text/plain")

handler = lambdascope.asgi.handler(app)
"""


DJANGO = """
import asyncio
from django.conf import settings
settings.configure(
    ROOT_URLCONF="app", ALLOWED_HOSTS=["*"], SECRET_KEY="for a test", USE_TZ=True, DATABASES={})
import django
django.setup()
from django.core.asgi import get_asgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
import lambdascope.asgi

async def order(request, number):
    body = request.body.decode()
    return JsonResponse({"number": number, "body": body, "tags": request.GET.getlist("tag"),
                         "root": request.META["SCRIPT_NAME"], "url": request.build_absolute_uri()})

async def slow(request):
    async def pieces():
        yield "one"
        await asyncio.to_thread(lambda: open("gate").close())
        print("second chunk")
        yield "two"
    return StreamingHttpResponse(pieces(), content_type="text/plain")

urlpatterns = [path("orders/<int:number>", order), path("slow", slow)]
handler = lambdascope.asgi.handler(get_asgi_application())
"""


@pytest.fixture
def environment(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ExecutionEnvironment]:
    """An environment with the application that the test asks for: its code and its handler."""
    code, handler = request.param
    (tmp_path / "app.py").write_text(code)
    config = FunctionConfig(
        handler=handler,
        task_root=str(tmp_path),
        runtime=OWN,
        own_extension=False,
        timeout_ms=20_000,
        memory_mb=512,
    )
    running = ExecutionEnvironment(config)
    try:
        yield running
    finally:
        running.shutdown()


def answered(environment: ExecutionEnvironment, event: dict[str, Any]) -> dict[str, Any]:
    """The answer of one invocation that succeeds."""
    record = environment.invoke(json.dumps(event).encode())
    assert record.function_error is None, record.answer
    found: dict[str, Any] = json.loads(record.answer)
    return found


def drain(reader: Reader) -> None:
    """Read to the end and keep nothing."""
    while reader.some():
        pass


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """One of the command's sample events, changed."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event | changes


@pytest.mark.parametrize("environment", [(STARLETTE, "app.buffered")], indirect=True)
def test_starlette_with_each_kind_of_event(environment: ExecutionEnvironment) -> None:
    """Path, query, cookies, client, body and cookies of the answer, for all four."""
    for name in ("apigw", "http", "url", "alb"):
        event = sample(name)
        answer = answered(environment, event)
        found = json.loads(answer["body"])
        assert (200, "17", event["body"]) == (answer["statusCode"], found["id"], found["body"])
        assert ("203.0.113.10", True, True) == (
            found["client"],
            found["beating"],
            found["remaining"],
        )
        host = event["headers"].get("host") or event["headers"]["Host"]
        root = "/prod" if name == "apigw" else ""
        query = "dry=true&tag=a&tag=b" if "version" in event else "dry=true"
        assert (f"https://{host}{root}/orders/17?{query}", root) == (found["url"], found["root"])
        assert (["a", "b"] if "version" in event else []) == found["tags"]
        assert ({"session": "example"} if "version" in event else {}) == found["cookies"]
        cookies = ["a=1; Path=/; SameSite=lax", "b=2; Path=/; SameSite=lax"]
        if name == "apigw":
            assert cookies == answer["multiValueHeaders"]["set-cookie"]
        elif name == "alb":
            headers = answer["headers"]
            assert cookies == [headers["set-cookie"], headers["Set-cookie"]]
        else:
            assert cookies == answer["cookies"]


@pytest.mark.parametrize("environment", [(STARLETTE, "app.handler")], indirect=True)
def test_binary_bodies_and_errors(environment: ExecutionEnvironment) -> None:
    """Bytes go both ways; an unhandled exception is the 500 of the framework and is logged."""
    raw = base64.b64encode(bytes(range(256))).decode()
    event = sample("http", rawPath="/echo", body=raw, isBase64Encoded=True)
    answer = answered(environment, event)
    assert (raw, True) == (answer["body"], answer["isBase64Encoded"])
    event = sample("alb", path="/fails")
    record = environment.invoke(json.dumps(event).encode())
    answer = json.loads(record.answer)
    assert (500, "500 Internal Server Error", "Internal Server Error") == (
        answer["statusCode"],
        answer["statusDescription"],
        answer["body"],
    )
    said = "\n".join(line.text for line in record.logs)
    assert "the ASGI application failed after its response" in said
    assert "LookupError: gone" in said
    record = environment.invoke(json.dumps(sample("sqs")).encode())
    error = json.loads(record.answer)
    assert "ValueError" == error["errorType"]
    assert error["errorMessage"].endswith("(its fields: Records)")


@pytest.mark.parametrize("environment", [(FASTAPI, "app.handler")], indirect=True)
def test_fastapi_with_each_kind_of_event(environment: ExecutionEnvironment) -> None:
    """Path, query and body reach a FastAPI function, and its validation answers."""
    for name in ("apigw", "http"):
        answer = answered(environment, sample(name))
        expected = {"number": 17, "total": 42.5, "dry": True}
        assert (200, expected) == (answer["statusCode"], json.loads(answer["body"]))
    answer = answered(environment, sample("alb"))
    assert {"number": 17, "dry": True} == json.loads(answer["body"])
    assert 422 == answered(environment, sample("http", body='{"total": "x"}'))["statusCode"]


@pytest.mark.parametrize(
    "code", [STARLETTE, FASTAPI, DJANGO], ids=["starlette", "fastapi", "django"]
)
def test_curl_sees_the_first_piece_before_the_second_is_made(tmp_path: Path, code: str) -> None:
    """A streamed response of the framework goes through the function URL piece by piece."""
    gate = Gate(tmp_path)
    (tmp_path / "app.py").write_text(code)
    with (
        serving(tmp_path, "", runtime=OWN, timeout_ms=20_000, memory_mb=512) as served,
        subprocess.Popen(
            ["curl", "-sN", "--max-time", str(WAIT_S), served.site.url + "slow"],
            stdout=subprocess.PIPE,
            bufsize=0,
        ) as curl,
    ):
        assert curl.stdout is not None
        assert b"one" == curl.stdout.read(3)
        assert "second chunk" not in served.stage.lines.texts()
        gate.open()
        assert b"two" == curl.stdout.read()
        assert 0 == curl.wait(WAIT_S)
        served.stage.lines.wait_for("REPORT")


def test_starlette_behind_its_function_url(tmp_path: Path) -> None:
    """Status, headers, cookies, errors, background work, lifespan of a streaming application."""
    gate = Gate(tmp_path)
    (tmp_path / "app.py").write_text(STARLETTE)
    with serving(tmp_path, "", runtime=OWN, timeout_ms=20_000, memory_mb=512) as served:
        lines = served.stage.lines
        reader = served.get("/slow")
        assert (201, "yes", "a=1; Path=/; SameSite=lax") == (
            reader.status,
            reader.headers["X-Own"],
            reader.headers["Set-Cookie"],
        )
        gate.open()
        assert b"onetwo" == reader.rest()

        reader = served.get("/late")
        assert (200, b"one") == (reader.status, reader.broken_rest())
        reader = served.get("/fails")
        assert (500, b"Internal Server Error") == (reader.status, reader.rest())
        lines.wait_for("LookupError: gone")

        reader = served.get("/later")
        assert b"ok" == reader.rest()
        assert "work is done" not in lines.texts()
        gate.open()
        lines.wait_for("work is done")

        reader = served.get("/orders/17")
        assert json.loads(reader.rest())["beating"]
        assert 1 == lines.texts().count("startup")
        lines.wait_for("REPORT", count=5)
        assert not [text for text in lines.texts() if "not awaited" in text]


def test_platform_that_takes_no_more(tmp_path: Path) -> None:
    """The application is told that nobody takes its response, and the next request is served."""
    (tmp_path / "app.py").write_text(STARLETTE)
    with serving(tmp_path, "", runtime=OWN, timeout_ms=30_000, memory_mb=512) as served:
        reader = served.get("/endless/")
        with pytest.raises(http.client.IncompleteRead):
            drain(reader)
        assert "http.disconnect" == served.stage.lines.wait_for("told")
        served.stage.lines.wait_for("[ERROR] StreamBroken")
        assert 200 == served.get("/orders/17").status
        served.stage.lines.wait_for("REPORT", count=2)


def test_lifespan_shuts_down_at_sigterm(tmp_path: Path) -> None:
    """Lambda sends SIGTERM where there is an extension; then the lifespan ends properly."""
    (tmp_path / "app.py").write_text(STARLETTE)
    extension = """
from raw import *
me = register(os.path.basename(sys.argv[0]), "SHUTDOWN")
next_extension_event(me)
"""
    with serving(
        tmp_path, "", extension=extension, runtime=OWN, timeout_ms=20_000, memory_mb=512
    ) as served:
        assert 200 == served.get("/orders/17").status
        served.stage.lines.wait_for("REPORT")
        served.stage.environment.shutdown()
        lines = served.stage.lines.texts()
    assert ["startup", "shutdown"] == [text for text in lines if text in ("startup", "shutdown")]


@pytest.mark.parametrize("environment", [(DJANGO, "app.handler")], indirect=True)
def test_django_with_each_kind_of_event(environment: ExecutionEnvironment) -> None:
    """Path, root, query and body reach a Django view, which has no lifespan."""
    for name in ("apigw", "http", "alb"):
        event = sample(name)
        found = json.loads(answered(environment, event)["body"])
        assert (17, event["body"]) == (found["number"], found["body"])
        assert ("/prod" if name == "apigw" else "") == found["root"]
        assert (["a", "b"] if name == "http" else []) == found["tags"]
        host = event["headers"].get("host") or event["headers"]["Host"]
        assert found["url"].startswith(f"https://{host}{found['root']}/orders/17?dry=true")
