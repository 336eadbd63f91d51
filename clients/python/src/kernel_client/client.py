"""The way in: one object for one gateway, its parts by noun."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, cast

from kernel_client.definitions import Definitions, Operators, Resources, Rules
from kernel_client.jobs import Jobs
from kernel_client.processes import Processes
from kernel_client.stream import Stream
from kernel_client.transport import Transport, segment
from kernel_client.types import Applied, DeadLetter
from kernel_client.work import WorkCalls


class Kernel:
    """`async with Kernel(url, token) as kernel`. `patience`: seconds for which a failing request is repeated."""

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str] | None = None,
        *,
        timeout: float = 30,
        patience: float = 60,
        connections: int = 100,
    ) -> None:
        self.transport = Transport(url, token, timeout=timeout, patience=patience, connections=connections)
        self._patience = patience
        self.processes = Processes(self.transport)
        self.jobs = Jobs(self.transport)
        self.work = WorkCalls(self.transport)
        self.services = Definitions(self.transport, "/v1/services")
        self.resources = Resources(self.transport, "/v1/resources")
        self.operators = Operators(self.transport, "/v1/operators")
        self.queues = Definitions(self.transport, "/v1/queues")
        self.rules = Rules(self.transport, "/v1/rules")
        self.event_types = Definitions(self.transport, "/v1/event-types")
        self.calendars = Definitions(self.transport, "/v1/calendars")

    @property
    def url(self) -> str:
        return self.transport.url

    async def __aenter__(self) -> "Kernel":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self.transport.close()

    async def me(self) -> dict[str, Any]:
        """Who the token says that the caller is."""
        return cast(dict[str, Any], (await self.transport.request("GET", "/v1/me")).data)

    async def apply(
        self,
        design: Mapping[str, Any] | str | bytes,
        *,
        dry_run: bool = False,
    ) -> Applied:
        """A whole design, as a mapping or as YAML or JSON text: all of it or nothing."""
        params = {"dry_run": True} if dry_run else None
        path = "/v1/design:apply"
        if isinstance(design, Mapping):
            answer = await self.transport.request("POST", path, design, params=params)
        else:
            raw = design.encode() if isinstance(design, str) else design
            answer = await self.transport.request("POST", path, raw=raw, content_type="application/yaml", params=params)
        return cast(Applied, answer.data)

    async def design(self) -> dict[str, Any]:
        return cast(dict[str, Any], (await self.transport.request("GET", "/v1/design")).data)

    async def publish(self, *events: Mapping[str, Any]) -> None:
        """Business events as CloudEvents (`id`, `source`, `type`, ...); the same source and id counts once."""
        body = [{"specversion": "1.0", **event} for event in events]
        await self.transport.request("POST", "/v1/events", body, content_type="application/cloudevents-batch+json")

    async def event_status(self, source: str, id: str) -> dict[str, Any]:
        """What became of an event."""
        answer = await self.transport.request("GET", "/v1/events", params={"source": source, "id": id})
        return cast(dict[str, Any], answer.data)

    async def entity(self, type: str, id: str, *, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """All processes that are about one entity: counts, those alive, a page of those that have ended, who runs them."""
        path = f"/v1/entities/{segment(type)}/{segment(id)}"
        answer = await self.transport.request("GET", path, params={"limit": limit, "cursor": cursor})
        return cast(dict[str, Any], answer.data)

    def stream(self, *, after: str | None = None, types: Iterable[str] = (), **filters: Any) -> Stream:
        """Changes of `process`, `tree`, `operator`, `queue`, `service`, `entity` (TYPE:ID) or `resource`."""
        return Stream(self.transport, filters, after=after, types=types, patience=self._patience)

    def incidents(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        return self.transport.pages("/v1/incidents", filters)

    async def verify(self) -> AsyncIterator[dict[str, Any]]:
        """All processes of the tenant, a part at a time: `checked`, `broken` (pid, version, what)."""
        cursor: str | None = None
        while True:
            part = (await self.transport.request("POST", "/v1/verify", params={"limit": 500, "cursor": cursor})).data
            yield part
            cursor = part["next"]
            if cursor is None:
                return

    def checkpoints(self) -> AsyncIterator[dict[str, Any]]:
        """The signed checkpoints, by number."""
        return self.transport.pages("/v1/checkpoints")

    async def hold(self, reason: str, *, pid: int | None = None, **filters: Any) -> dict[str, Any]:
        """A legal hold on one process, or on all that the filters of a list find: their history is kept until it is released."""
        body = {"reason": reason, **({"pid": pid} if pid is not None else {"filter": filters})}
        return cast(dict[str, Any], (await self.transport.request("POST", "/v1/holds", body)).data)

    async def release_hold(self, id: int) -> dict[str, Any]:
        return cast(dict[str, Any], (await self.transport.request("DELETE", f"/v1/holds/{id}")).data)

    def holds(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """`active=True`: only those that hold."""
        return self.transport.pages("/v1/holds", filters)

    def export(self, format: str = "csv", **filters: Any) -> AsyncIterator[bytes]:
        """The history as an event log (csv, xes, ocel), in chunks; `service`, `from`, `to`, `case`, `lifecycle` narrow it."""
        return self.transport.download("/v1/export", {"format": format, **filters})

    def dead_letters(self, *, state: str | None = None) -> AsyncIterator[DeadLetter]:
        """Messages that were given up on, newest first."""
        return cast(AsyncIterator[DeadLetter], self.transport.pages("/v1/dead-letters", {"state": state}))

    async def settle_dead_letter(self, id: str, action: str, value: Any = None) -> dict[str, Any]:
        """`replay` (with `value`, the edited body) or `discard`."""
        body = {"value": value} if value is not None else {}
        answer = await self.transport.request("POST", f"/v1/dead-letters/{segment(id)}/{action}", body)
        return cast(dict[str, Any], answer.data)
