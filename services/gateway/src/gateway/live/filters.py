"""What a client wants to see, and what it may see."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernel_contracts.resource import OPERATOR_TYPE

from gateway.auth.principal import Principal
from gateway.live.record import Record

NAMES = ("process", "tree", "operator", "queue", "service", "entity", "resource")
PROCESSES, RESOURCES = "p", "r"
"""Which topic a filter is about, as the prefix of its positions."""


class FilterError(ValueError):
    """Not a filter; the message says what would be."""


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must fit. `entity` is (type, id or None for any), as the subject or in another role."""

    process: int | None = None
    tree: int | None = None
    operator: str | None = None
    queue: str | None = None
    service: str | None = None
    entity: tuple[str, str | None] | None = None
    resource: str | None = None

    @property
    def topic(self) -> str:
        return RESOURCES if self.resource is not None else PROCESSES

    @property
    def key(self) -> tuple[str, Any]:
        """The narrowest thing that every fitting record has: subscribers are found by it."""
        for name in ("process", "resource", "tree", "entity", "operator", "queue", "service"):
            value = getattr(self, name)
            if value is not None:
                return (name, value[0] if name == "entity" else value)
        return ("all", None)

    def fits(self, data: Mapping[str, Any]) -> bool:
        if self.resource is not None:
            return self.resource in _resources(data)
        return (
            (self.process is None or data.get("pid") == self.process)
            and (self.tree is None or self.tree in (data.get("root"), data.get("pid")))
            and (self.operator is None or data.get("operator") == self.operator)
            and (self.queue is None or data.get("queue") == self.queue)
            and (self.service is None or data.get("service") == self.service)
            and (
                self.entity is None
                or any(self.entity[0] == type and self.entity[1] in (None, id) for type, id in _entities(data))
            )
        )


def keys_of(topic: str, data: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Under which keys there may be subscribers for a record."""
    yield ("all", None)
    if topic == RESOURCES:
        for resource in _resources(data):
            yield ("resource", resource)
        return
    yield ("process", data.get("pid"))
    yield ("tree", data.get("pid"))
    if data.get("root") not in (None, data.get("pid")):
        yield ("tree", data["root"])
    for name in ("operator", "queue", "service"):
        if data.get(name) is not None:
            yield (name, data[name])
    for type in {type for type, _ in _entities(data)}:
        yield ("entity", type)


def _entities(data: Mapping[str, Any]) -> Iterable[tuple[Any, Any]]:
    """All that it is about; where there are more than one, `entities` has the subject too."""
    if (found := data.get("entities")) or (found := data.get("entity") and [data["entity"]]):
        for each in found:
            yield each.get("type"), each.get("id")


def _resources(data: Mapping[str, Any]) -> set[str]:
    if "id" in data and "pid" not in data:
        return {data["id"]}
    units = [*data.get("allocations", ()), *data.get("usage", ())]
    return {unit["resource"] for unit in units} | ({data["operator"]} if data.get("operator") else set())


def filter_of(values: Mapping[str, Any]) -> Filter:
    """From a WebSocket's `subscribe` or the query of server-sent events; raises FilterError."""
    unknown = [name for name in values if name not in NAMES]
    if unknown:
        raise FilterError(f"there is no filter {str(unknown[0])[:60]}; there are {', '.join(NAMES)}")
    if "resource" in values and len(values) > 1:
        raise FilterError("resource stands alone: its events are about resources, not processes")
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("process", "tree"):
            made[name] = _pid(name, value)
        elif name == "entity":
            made[name] = _entity(value)
        elif isinstance(value, str) and 0 < len(value) <= 200:
            made[name] = value
        else:
            raise FilterError(f"{name} must be a name")
    return Filter(**made)


def _pid(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise FilterError(f"{name} must be a pid")
    return value


def _entity(value: Any) -> tuple[str, str | None]:
    """`{"type", "id"}`, `TYPE:ID`, or a type alone for all of its entities."""
    if isinstance(value, str):
        kind, _, id = value.partition(":")
        value = {"type": kind, **({"id": id} if id else {})}
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or not value["type"]:
        raise FilterError('entity must be {"type": ..., "id": ...} or TYPE:ID')
    if not isinstance(value.get("id"), str | None):
        raise FilterError("the id of an entity is text")
    return value["type"], value.get("id")


SHOWN = 5_000
"""Pids whose further way a mere operator is told, at most."""


@dataclass(slots=True)
class Sight:
    """What a caller may see. A mere operator: what it runs, and what is ready and its roles allow.

    A process that it was shown and that somebody else took is told once more, without content, so that it leaves its list.
    """

    principal: Principal
    roles: frozenset[str] = frozenset()
    """The operator's own roles, as resource-svc has them."""
    shown: "OrderedDict[int, None]" = field(default_factory=OrderedDict)

    @property
    def wide(self) -> bool:
        return not self.principal.only_operator

    def of(self, record: Record) -> dict[str, Any] | bool:
        """True: all of it; False: nothing; else what is told instead."""
        if self.wide:
            return True
        data = record.data
        pid = data.get("pid")
        if not isinstance(pid, int):
            return data.get("id") == self.principal.operator
        if self._own(data):
            self.shown[pid] = None
            self.shown.move_to_end(pid)
            if len(self.shown) > SHOWN:
                self.shown.popitem(last=False)
            return True
        if pid in self.shown and "state" in data:
            del self.shown[pid]
            return {"pid": pid, "version": data.get("version"), "state": data["state"]}
        return False

    def _own(self, data: Mapping[str, Any]) -> bool:
        me = self.principal.operator
        if me is None:
            return False
        if data.get("operator") == me:
            return True
        for demand in data.get("demands") or ():
            if demand.get("type") == OPERATOR_TYPE and demand.get("resource") in (None, me):
                roles = demand.get("roles") or []
                return not roles or not self.roles.isdisjoint(roles)
        return False
