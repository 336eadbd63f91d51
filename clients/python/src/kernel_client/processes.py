"""Processes: starting them, one and many; reading them; driving them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast

from kernel_client.transport import Transport, segment
from kernel_client.types import BatchItem, Process

BATCH = 500
"""Items a request; the server takes 1,000, and 4 MiB."""


class Processes:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        service: str,
        *,
        entity: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Process:
        """Starts one. `key` is the caller's own: the same again gives the same process. `more`: as the API names it."""
        body = {"service": service, "entity": entity, "context": context or {}, "key": key, **more}
        body = {name: value for name, value in body.items() if value is not None}
        return cast(Process, (await self._transport.request("POST", "/v1/processes", body)).data)

    async def create_many(self, items: Sequence[Mapping[str, Any]]) -> list[BatchItem]:
        """Starts any number; one answer each, in order. One bad item spoils no other."""
        return await self._batched("/v1/processes:batch", items)

    async def commands(self, items: Sequence[Mapping[str, Any]]) -> list[BatchItem]:
        """Any number of `{"pid", "command", ...}`; one answer each, in order."""
        return await self._batched("/v1/processes:commands", items)

    async def _batched(self, path: str, items: Sequence[Mapping[str, Any]]) -> list[BatchItem]:
        answers: list[BatchItem] = []
        for start in range(0, len(items), BATCH):
            answer = await self._transport.request("POST", path, {"items": items[start : start + BATCH]})
            answers.extend(answer.data["items"])
        return answers

    async def get(self, pid: int) -> Process:
        return cast(Process, (await self._transport.request("GET", _at(pid))).data)

    async def page(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Any
    ) -> tuple[list[Process], str | None]:
        """One page, and the cursor of the next."""
        params = {"limit": limit, "cursor": cursor, **filters}
        page = (await self._transport.request("GET", "/v1/processes", params=params)).data
        return page["items"], page.get("next")

    async def verify(self, pid: int) -> dict[str, Any]:
        """Whether its journal and snapshots are what was written; `broken` names the first broken link."""
        return cast(dict[str, Any], (await self._transport.request("GET", _at(pid, "verify"))).data)

    def history(self, pid: int, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Each step, oldest first."""
        return self._transport.pages(_at(pid, "history"), filters)

    async def why(self, pid: int) -> dict[str, Any]:
        """What it waits for, who holds that, and what would change it."""
        return cast(dict[str, Any], (await self._transport.request("GET", _at(pid, "why"))).data)

    async def patch_context(self, pid: int, patch: Mapping[str, Any]) -> Process:
        """A JSON merge patch: None removes a member."""
        answer = await self._transport.request(
            "PATCH", _at(pid, "context"), patch, content_type="application/merge-patch+json"
        )
        return cast(Process, answer.data)

    async def command(self, pid: int, command: str, *, if_version: int | None = None, **body: Any) -> Process:
        """Any command of the state table by its name, with its body."""
        headers = {"if-match": f'"{if_version}"'} if if_version is not None else None
        sent = {name: value for name, value in body.items() if value is not None}
        return cast(Process, (await self._transport.request("POST", _at(pid, command), sent, headers=headers)).data)

    async def complete(
        self, pid: int, output: Mapping[str, Any] | None = None, *, reason: str | None = None
    ) -> Process:
        """Ends it well; `output` must fit the form of its service."""
        return await self.command(pid, "complete", output=output or {}, reason=reason)

    async def fail(self, pid: int, *, kind: str = "business", code: str = "failed", message: str = "") -> Process:
        """`kind`: transient, business or poison."""
        return await self.command(pid, "fail", error={"class": kind, "code": code, "message": message})

    async def cancel(self, pid: int, reason: str | None = None) -> Process:
        return await self.command(pid, "cancel", reason=reason)

    async def suspend(
        self, pid: int, reason: str | None = None, *, cascade: bool = False, hold: bool = False
    ) -> Process:
        return await self.command(pid, "suspend", reason=reason, cascade=cascade, hold=hold)

    async def resume(self, pid: int, reason: str | None = None) -> Process:
        return await self.command(pid, "resume", reason=reason)

    async def prioritize(self, pid: int, priority: int, reason: str | None = None) -> Process:
        return await self.command(pid, "prioritize", priority=priority, reason=reason)

    def list(self, *, state: str | Iterable[str] | None = None, **filters: Any) -> AsyncIterator[Process]:
        """All that fit, page by page: `service`, `operator`, `queue`, `entity_type`, `key`, ... as the API names them."""
        states = state if state is None or isinstance(state, str) else ",".join(state)
        return cast(AsyncIterator[Process], self._transport.pages("/v1/processes", {"state": states, **filters}))


def _at(pid: int, suffix: str = "") -> str:
    return f"/v1/processes/{segment(pid)}" + (f"/{suffix}" if suffix else "")
