"""Bulk jobs: a command to all that a filter finds; how far it has come, what became of each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

from kernel_client.transport import Transport, segment

Job = dict[str, Any]
ENDED = frozenset({"completed", "cancelled", "failed"})


class Jobs:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def start(self, command: str, filter: Mapping[str, Any], *, dry_run: bool = False, **body: Any) -> Job:
        """`filter` as the API names it: `{"service": "x", "state": ["RUNNING"]}`. `body`: what the command takes."""
        sent = {"filter": filter, "command": command, "body": body, "dry_run": dry_run}
        return cast(Job, (await self._transport.request("POST", "/v1/processes:bulk", sent)).data)

    async def resolve(self, filter: Mapping[str, Any], action: str, *, dry_run: bool = False, **more: Any) -> Job:
        """Resolves the open incidents of the processes that `filter` finds."""
        sent = {"filter": filter, "action": action, "dry_run": dry_run, **more}
        return cast(Job, (await self._transport.request("POST", "/v1/incidents:resolve", sent)).data)

    async def migrate(
        self,
        service: str,
        to: int,
        *,
        since: int | list[int] | None = None,
        filter: Mapping[str, Any] | None = None,
        context_patch: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Job:
        """Processes of `service`, of the version (or versions) `since`, to the version `to`."""
        sent = {"service": service, "from": since, "to": to, "filter": filter or {}, "dry_run": dry_run}
        sent["context_patch"] = context_patch
        return cast(Job, (await self._transport.request("POST", "/v1/processes:migrate", sent)).data)

    async def get(self, id: int) -> Job:
        return cast(Job, (await self._transport.request("GET", f"/v1/jobs/{segment(id)}")).data)

    def list(self, *, state: str | None = None) -> AsyncIterator[Job]:
        """Newest first."""
        return self._transport.pages("/v1/jobs", {"state": state})

    def items(self, id: int, *, status: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """`status`: pending, done, failed or cancelled."""
        return self._transport.pages(f"/v1/jobs/{segment(id)}/items", {"status": status})

    async def control(self, id: int, action: str) -> Job:
        """`pause`, `resume` or `cancel`."""
        return cast(Job, (await self._transport.request("POST", f"/v1/jobs/{segment(id)}/{action}", {})).data)

    async def wait(self, id: int, told: Callable[[Job], None] | None = None, *, every: float = 0.3) -> Job:
        """The job once it has ended or is paused; `told` is called with it each time that it was looked at."""
        while True:
            job = await self.get(id)
            if told is not None:
                told(job)
            if job["state"] in ENDED or job["state"] == "paused":
                return job
            await asyncio.sleep(every)
