"""How values of the domain are written: demands as their sender wrote them, what a process holds, times."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from kernel_contracts import process
from kernel_contracts.scheduler import QueueDefinition
from kernel_contracts.vocabulary import Hold
from pydantic import TypeAdapter

from scheduler_svc.domain.demands import Demand, Demands, Held, Need
from scheduler_svc.domain.facts import QueueSettings
from scheduler_svc.domain.order import Ageing
from scheduler_svc.domain.queues import Item

_DEMANDS = TypeAdapter(list[process.Demand])
_KNOWN_DEMANDS: dict[bytes, Demands] = {}
_KEPT = 10_000


def demands_of(told: Sequence[Any]) -> Demands:
    """Equal demands are one object, as long as there are not too many different ones."""
    text = orjson.dumps(told)
    known = _KNOWN_DEMANDS.get(text)
    if known is None:
        parsed = tuple(_demand(demand) for demand in _DEMANDS.validate_json(text))
        known = Demands.of(parsed, tuple(orjson.dumps(each).decode() for each in told))
        if len(_KNOWN_DEMANDS) >= _KEPT:
            _KNOWN_DEMANDS.clear()
        _KNOWN_DEMANDS[text] = known
    return known


def _demand(told: process.Demand) -> Demand:
    need = Need(
        told.type,
        tuple(sorted(told.selector.items())),
        tuple(sorted(set(told.roles))),
        tuple(sorted((skill.skill, skill.level) for skill in told.skills)),
    )
    return Demand(need, told.units, told.resource, told.hold is Hold.PROCESS)


def settings_from(tenant: str, name: str, version: int, definition: QueueDefinition) -> QueueSettings:
    return QueueSettings(
        tenant,
        name,
        version,
        definition.policy,
        definition.limits.running,
        definition.paused,
        tuple(sorted(definition.weights.items())),
        Ageing(definition.ageing.factor, definition.ageing.bound.total_seconds()),
        definition.backfill,
    )


def utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)


def time_from(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def held_text(item: Item) -> str:
    if not item.held:
        return "{}"
    return orjson.dumps({id: (held.type, held.units, held.keep) for id, held in item.held.items()}).decode()


def held_from(text: str) -> dict[str, Held]:
    return {id: Held(*held) for id, held in orjson.loads(text).items()}


def demands_text(item: Item) -> str:
    return f"[{','.join(item.demands.source)}]"
