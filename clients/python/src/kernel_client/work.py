"""Work by programs, by hand: the worker (`kernel_client.worker`) does all of this."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast

from kernel_client.transport import Transport, segment
from kernel_client.types import BatchItem, WorkItem

MARGIN = 15.0
"""Seconds that an answer may take beyond the wait."""


class WorkCalls:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def claim(
        self,
        services: Iterable[str],
        worker: str,
        *,
        max: int = 1,
        wait: float = 30.0,
        lease: float | None = None,
        patience: float | None = None,
    ) -> list[WorkItem]:
        """What is held for `worker` now, empty where nothing came within `wait` seconds (60 at most)."""
        body = {"services": list(services), "worker": worker, "max": max, "wait": wait, "lease": lease}
        answer = await self._transport.request(
            "POST", "/v1/work:claim", body, keyed=False, timeout=wait + MARGIN, patience=patience
        )
        return cast(list[WorkItem], answer.data["items"])

    async def heartbeat(
        self, items: Sequence[Mapping[str, Any]], *, patience: float | None = None
    ) -> list[dict[str, Any]]:
        """`{pid, token, progress?, lease?}` each; `{status, lease_until}` or `{status, problem}` each."""
        answer = await self._transport.request(
            "POST", "/v1/work:heartbeat", {"items": list(items)}, keyed=False, patience=patience
        )
        return cast(list[dict[str, Any]], answer.data["items"])

    async def answer(self, items: Sequence[Mapping[str, Any]], *, patience: float | None = None) -> list[BatchItem]:
        """`{pid, token}` with `output`, `error` or `release: true` each; up to 1,000, one result each."""
        answer = await self._transport.request("POST", "/v1/work:complete", {"items": list(items)}, patience=patience)
        return cast(list[BatchItem], answer.data["items"])

    def list(self, *, service: str | None = None, worker: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """What programs carry out, and what waits for one (`worker` None), by pid."""
        return self._transport.pages("/v1/work", {"service": service, "worker": worker})

    async def get(self, pid: int) -> dict[str, Any]:
        """Who carries it out, until when, and how far it is."""
        return cast(dict[str, Any], (await self._transport.request("GET", f"/v1/work/{segment(pid)}")).data)
