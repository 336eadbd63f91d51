"""A steady load through the public doors that keeps an account of every answer it got.

Clients retry with the same Idempotency-Key until they know the outcome; operators complete what they are given, as often as it
takes. At the end every acknowledged process must have ended, having run exactly once.
"""

import asyncio
import itertools
import uuid
from typing import Any

import aiohttp

from .installation import Installation

SERVICE = "survive"
OPERATORS = 20

DESIGN: dict[str, Any] = {
    "services": {
        SERVICE: {"kind": "human", "roles": ["survivor"], "entity_type": "case", "entity_access": "exclusive"}
    },
    "operators": {f"survivor-{n}": {"roles": ["survivor"], "capacity": 2} for n in range(OPERATORS)},
}


class Load:
    """`async with Load(installation, rate):` creates `rate` processes a second until the block ends, then drains."""

    def __init__(self, installation: Installation, rate: float) -> None:
        self._installation = installation
        self._rate = rate
        self.acknowledged: dict[int, str] = {}
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15))
        await self._insist("POST", "/v1/design:apply", DESIGN)
        self._tasks = [asyncio.create_task(self._create()), asyncio.create_task(self._operate())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        try:
            await asyncio.gather(*self._tasks)
        finally:
            await self._http.close()

    async def _create(self) -> None:
        size = 5
        for n in itertools.count():
            if self._stop.is_set():
                return
            keys = [f"{uuid.uuid4()}" for _ in range(size)]
            items = [
                {"service": SERVICE, "key": key, "entity": {"type": "case", "id": str((n * size + i) % 500)}}
                for i, key in enumerate(keys)
            ]
            answer = await self._insist("POST", "/v1/processes:batch", {"items": items})
            for key, item in zip(keys, answer["items"], strict=True):
                assert item["status"] in (200, 201), item
                self.acknowledged[item["process"]["pid"]] = key
            await asyncio.sleep(size / self._rate)

    async def _operate(self) -> None:
        """Until all that was acknowledged has ended; a process that doesn't within two minutes fails the test."""
        quiet = 0.0
        while not (self._stop.is_set() and quiet >= 120):
            running = await self._insist("GET", f"/v1/processes?service={SERVICE}&state=RUNNING&limit=500")
            pids = [process["pid"] for process in running["items"]]
            if pids:
                quiet = 0.0
                commands = [{"pid": pid, "command": "complete", "output": {"done": True}} for pid in pids]
                await self._insist("POST", "/v1/processes:commands", {"items": commands})
            elif self._stop.is_set():
                left = await self._insist(
                    "GET", f"/v1/processes?service={SERVICE}&state=NEW,READY,WAITING,SUSPENDED&limit=1"
                )
                if not left["items"]:
                    return
                quiet += 0.1
            await asyncio.sleep(0.1)
        left = await self._insist("GET", f"/v1/processes?service={SERVICE}&state=NEW,READY,WAITING,SUSPENDED&limit=5")
        raise AssertionError(f"processes never ended: {left['items']}")

    async def _insist(self, method: str, path: str, body: Any = None) -> Any:
        """Until there is an answer that is one: connections cut, 429 and 503 are tried again with the same key."""
        key = uuid.uuid4().hex
        for _ in range(600):
            try:
                status, answer = await self._installation.call(
                    self._http, method, path, body, **{"idempotency-key": key}
                )
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                await asyncio.sleep(0.1)
                continue
            if status in (429, 502, 503, 504):
                await asyncio.sleep(0.1)
                continue
            assert status < 300, f"{method} {path}: {status} {answer}"
            return answer
        raise AssertionError(f"no answer to {method} {path} in a minute")

    async def verify(self, least: int) -> None:
        """Every acknowledged process is there, completed, and ran exactly once; and there were enough of them."""
        assert len(self.acknowledged) >= least, f"only {len(self.acknowledged)} were acknowledged"
        async with aiohttp.ClientSession() as self._http:
            found: dict[int, Any] = {}
            path = f"/v1/processes?service={SERVICE}&limit=500"
            cursor = ""
            while True:
                page = await self._insist("GET", path + cursor)
                found |= {process["pid"]: process for process in page["items"]}
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
            for pid, key in self.acknowledged.items():
                assert pid in found, f"acknowledged process {pid} is gone"
                process = found[pid]
                assert (process["key"], process["state"], process["outcome"]) == (key, "TERMINATED", "completed"), (
                    process
                )
                assert process["attempt"] == 1, process
            keys = [process["key"] for process in found.values()]
            assert len(keys) == len(set(keys)), "one key made two processes"
