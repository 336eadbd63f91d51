"""Things with a name that the design has: services, resources, operators, queues, rules, event types, calendars."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from kernel_client.transport import Transport, segment


class Definitions:
    """One kind of them, at its own path."""

    def __init__(self, transport: Transport, path: str) -> None:
        self._transport = transport
        self._path = path

    def _at(self, name: str, suffix: str = "") -> str:
        return f"{self._path}/{segment(name)}{suffix}"

    async def put(self, name: str, definition: Mapping[str, Any], *, if_version: int | None = None) -> dict[str, Any]:
        """Defines it; the same again changes nothing. With `if_version` only while it has that version."""
        headers = {"if-match": f'"{if_version}"'} if if_version is not None else None
        return _object((await self._transport.request("PUT", self._at(name), definition, headers=headers)).data)

    async def get(self, name: str, **params: Any) -> dict[str, Any]:
        return _object((await self._transport.request("GET", self._at(name), params=params)).data)

    def list(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """All of them, page by page."""
        return self._transport.pages(self._path, filters)


class Resources(Definitions):
    async def status(self, id: str, at: str | None = None) -> dict[str, Any]:
        """Capacity and use now, or at a time."""
        return _object((await self._transport.request("GET", self._at(id, "/status"), params={"at": at})).data)

    async def availability(self, id: str, start: str | None = None, end: str | None = None) -> list[dict[str, Any]]:
        """Windows `{from, to, free}`; from now on and a week, where times are not said."""
        asked = {"from": start, "to": end}
        page = (await self._transport.request("GET", self._at(id, "/availability"), params=asked)).data
        return [dict(item) for item in page["windows"]]

    async def change_stock(self, id: str, delta: int, reason: str | None = None) -> dict[str, Any]:
        body = {"delta": delta, "reason": reason}
        return _object((await self._transport.request("POST", self._at(id, "/stock"), body)).data)

    def allocations(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Who holds what; by `pid`, `resource`."""
        return self._transport.pages("/v1/allocations", filters)


class Operators(Definitions):
    async def tasks(self, id: str, state: str | None = None) -> "list[dict[str, Any]]":
        """What it runs, then what it may run next."""
        page = (await self._transport.request("GET", self._at(id, "/tasks"), params={"state": state})).data
        return [dict(item) for item in page["items"]]

    async def presence(self, id: str, status: str, *, release: bool = False) -> dict[str, Any]:
        """`available`, `away` or `break`."""
        body = {"status": status, "release": release}
        return _object((await self._transport.request("POST", self._at(id, "/presence"), body)).data)


class Rules(Definitions):
    def firings(self, name: str) -> AsyncIterator[dict[str, Any]]:
        return self._transport.pages(self._at(name, "/firings"))

    async def test(self, event: Mapping[str, Any], **rule_or_name: Any) -> dict[str, Any]:
        """What would fire, and what it would do, with nothing done."""
        return _object(
            (await self._transport.request("POST", f"{self._path}:test", {"event": event, **rule_or_name})).data
        )


def _object(data: Any) -> dict[str, Any]:
    assert isinstance(data, dict)
    return data
