"""The worker against a real HTTP server that hands out work and takes it back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from kernel_client.errors import ForbiddenError
from kernel_client.worker import BusinessError, PoisonError, TransientError, Work, Worker
from kernel_client.worker.errors import told
from kernel_client.worker.typed import signature
from kernel_testing import eventually
from pydantic import BaseModel, Field


class Desk:
    """Hands out what `put` is given, notes heartbeats and answers. `down`: requests that are answered by 503 before."""

    def __init__(self) -> None:
        self.ready: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        self.taken_back: set[int] = set()
        self.refused: dict[int, int] = {}
        self.down = 0
        self.forbidden = False
        self.url = ""
        self._pids = iter(range(1, 10**6))

    def put(self, service: str, **context: Any) -> int:
        pid = next(self._pids)
        item = {"pid": pid, "token": pid * 10, "service": service, "entity": None, "context": context, "attempt": 1}
        self.ready.append(item)
        return pid

    async def claim(self, request: web.Request) -> web.Response:
        if self.forbidden:
            return problem(403)
        if self.down:
            self.down -= 1
            return problem(503)
        body = await request.json()
        self.asked.append(body)
        for _ in range(int(body["wait"] / 0.005)):
            if self.ready:
                break
            await asyncio.sleep(0.005)
        items, self.ready = self.ready[: body["max"]], self.ready[body["max"] :]
        for item in items:
            item["lease"] = body["lease"] or 60
        return web.json_response({"items": items})

    async def heartbeat(self, request: web.Request) -> web.Response:
        items = (await request.json())["items"]
        self.beats += items
        gone = {"status": 409, "problem": {"detail": "cancelled"}}
        return web.json_response(
            {"items": [gone if item["pid"] in self.taken_back else {"status": 200} for item in items]}
        )

    async def complete(self, request: web.Request) -> web.Response:
        found = []
        for item in (await request.json())["items"]:
            status = self.refused.pop(item["pid"], 200)
            if status == 200:
                assert item["pid"] not in self.answers
                self.answers[item["pid"]] = item
            found.append({"status": status, "problem": {"detail": "/output: no"}} if status != 200 else {"status": 200})
        return web.json_response({"items": found})

    async def answer(self, pid: int) -> dict[str, Any]:
        await eventually(lambda: pid in self.answers, timeout=10)
        return self.answers[pid]


def problem(status: int) -> web.Response:
    return web.json_response({"title": "No", "status": status, "detail": "no"}, status=status)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    app = web.Application()
    for name, handler in (("claim", made.claim), ("heartbeat", made.heartbeat), ("complete", made.complete)):
        app.router.add_post(f"/v1/work:{name}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


Start = Callable[[Worker], None]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    running: list[tuple[Worker, asyncio.Task[None]]] = []
    yield lambda worker: running.append((worker, asyncio.create_task(worker.serve())))
    for worker, task in running:
        worker.stop()
        await asyncio.wait_for(task, 10)


class Invoice(BaseModel):
    customer: str
    amount: float = Field(gt=0)


@dataclass
class Made:
    number: str
    total: float


async def test_async_sync_typed_and_plain(desk: Desk, start: Start) -> None:
    worker = Worker(desk.url, concurrency=4, poll=0.5)

    @worker.service("typed")
    async def typed(invoice: Invoice, work: Work) -> Made:
        return Made(f"R-{work.pid}", invoice.amount * 2)

    @worker.service("plain")
    def plain(context: dict[str, Any]) -> dict[str, Any]:
        return {"got": context}

    @worker.service("nothing")
    async def nothing() -> None:
        pass

    start(worker)
    pids = [desk.put("typed", customer="c", amount=4), desk.put("plain", a=1), desk.put("nothing")]
    wrong = desk.put("typed", amount=-1)
    outputs = [(await desk.answer(pid))["output"] for pid in pids]
    assert outputs == [{"number": f"R-{pids[0]}", "total": 8.0}, {"got": {"a": 1}}, {}]
    error = (await desk.answer(wrong))["error"]
    assert (error["class"], error["code"]) == ("poison", "invalid_context")
    assert "/customer: Field required" in error["message"]
    assert "/amount: Input should be greater than 0" in error["message"]


async def test_failures_say_their_class_and_no_traceback(desk: Desk, start: Start) -> None:
    worker = Worker(desk.url, poll=0.5)
    raised = {
        "t": TransientError("ledger-away", "not there"),
        "b": BusinessError("refused/by them"),
        "p": PoisonError("broken"),
        "other": KeyError("amount"),
        "long": ValueError("x" * 5000 + "\x00"),
    }

    @worker.service("fails")
    def fails(context: dict[str, Any]) -> Any:
        if context["how"] == "list":
            return [1]
        raise raised[context["how"]]

    start(worker)
    pids = {how: desk.put("fails", how=how) for how in (*raised, "list")}
    errors = {how: (await desk.answer(pid))["error"] for how, pid in pids.items()}
    assert errors["t"] == {"class": "transient", "code": "ledger-away", "message": "not there"}
    assert (errors["b"]["class"], errors["b"]["code"]) == ("business", "refused by them")
    assert errors["p"]["class"] == "poison"
    assert errors["other"] == {"class": "transient", "code": "KeyError", "message": "'amount'"}
    assert len(errors["long"]["message"]) == 2000
    assert errors["list"]["code"] == "invalid_output"


async def test_no_more_than_there_is_room_for(desk: Desk, start: Start) -> None:
    worker, now, most = Worker(desk.url, concurrency=3, poll=0.5), 0, 0

    @worker.service("slow")
    async def slow() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1

    pids = [desk.put("slow") for _ in range(20)]
    start(worker)
    for pid in pids:
        await desk.answer(pid)
    assert most == 3
    assert max(asked["max"] for asked in desk.asked) == 3


async def test_none_of_many_short_ones_is_forgotten(desk: Desk, start: Start) -> None:
    worker = Worker(desk.url, concurrency=50, poll=0.5)
    worker.service("s")(lambda: None)
    start(worker)
    for _ in range(20):
        pids = [desk.put("s") for _ in range(60)]
        await eventually(lambda pids=pids: all(pid in desk.answers for pid in pids), timeout=5, interval=0.005)


async def test_heartbeats_progress_and_what_is_taken_back(desk: Desk, start: Start) -> None:
    worker, ended = Worker(desk.url, lease=1, poll=0.5), []

    @worker.service("long")
    async def long(context: dict[str, Any], work: Work) -> None:
        work.progress({"done": 1})
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append((work.pid, work.cancelled))
            raise

    @worker.service("thread")
    def thread(context: dict[str, Any], work: Work) -> None:
        while not work.cancelled:
            time.sleep(0.01)
        ended.append((work.pid, True))

    start(worker)
    pids = [desk.put("long"), desk.put("thread")]
    await eventually(lambda: {beat["pid"] for beat in desk.beats} == set(pids), timeout=5)
    await eventually(lambda: {"done": 1} in [beat.get("progress") for beat in desk.beats], timeout=5)
    desk.taken_back.update(pids)
    await eventually(lambda: sorted(ended) == [(pid, True) for pid in pids], timeout=5)
    await asyncio.sleep(0.05)
    assert desk.answers == {}


async def test_the_kernel_comes_back(desk: Desk, start: Start) -> None:
    worker = Worker(desk.url, poll=0.5)
    worker.service("s")(lambda: None)
    desk.down = 3
    start(worker)
    assert (await desk.answer(desk.put("s")))["output"] == {}


async def test_what_will_never_work_ends_it(desk: Desk) -> None:
    worker = Worker(desk.url)
    worker.service("s")(lambda: None)
    desk.forbidden = True
    with pytest.raises(ForbiddenError):
        await asyncio.wait_for(worker.serve(), 5)


async def test_an_output_that_does_not_fit_the_form_is_poison(desk: Desk, start: Start) -> None:
    worker = Worker(desk.url, poll=0.5)
    worker.service("s")(lambda: {"wrong": True})
    start(worker)
    pid = desk.put("s")
    desk.refused[pid] = 422
    assert (await desk.answer(pid))["error"] == {"class": "poison", "code": "invalid_output", "message": "/output: no"}


async def test_stopping_finishes_or_gives_back(desk: Desk) -> None:
    worker = Worker(desk.url, poll=0.5, grace=0.3)

    @worker.service("s")
    async def work(context: dict[str, Any]) -> None:
        await asyncio.sleep(context["seconds"])

    running = asyncio.create_task(worker.serve())
    short, long = desk.put("s", seconds=0.1), desk.put("s", seconds=30)
    await eventually(lambda: len(worker._active) == 2)
    worker.stop()
    later = desk.put("s", seconds=0)
    await asyncio.wait_for(running, 3)
    assert desk.answers[short]["output"] == {}
    assert desk.answers[long]["release"] is True
    assert later not in desk.answers


def test_what_could_never_be_called_is_said_when_it_is_registered() -> None:
    worker = Worker()
    with pytest.raises(TypeError, match="one too many"):

        @worker.service("s")
        def two(a: dict[str, Any], b: int) -> None: ...

    worker.service("t")(lambda: None)
    with pytest.raises(ValueError, match="already"):
        worker.service("t")(lambda: None)
    with pytest.raises(ValueError, match="concurrency"):
        Worker(concurrency=0)


def test_codes_fit_the_kernel() -> None:
    assert told(TransientError(" /\n ", "m"))["code"] == "failed"
    assert told(TransientError("a" * 300))["code"] == "a" * 200
    assert signature(lambda: None).context is None
