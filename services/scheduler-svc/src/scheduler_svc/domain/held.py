"""What a process has already: demands that it meets are not asked for again."""

from scheduler_svc.domain.demands import Held, Signature
from scheduler_svc.domain.queues import Item


def missing(item: Item) -> tuple[tuple[int, ...], tuple[int, ...], Signature]:
    """The demands that what it holds for good does not meet: fixed, pooled, and the signature of those."""
    held = match_held(item)
    demands = item.demands
    pooled = tuple(i for i in demands.pooled if i not in held)
    return (
        tuple(i for i in demands.fixed if i not in held),
        pooled,
        tuple((demands.all[i].need, demands.all[i].units) for i in pooled),
    )


def match_held(item: Item) -> dict[int, str]:
    """Demands that are met by what the process has kept: index -> resource. Each holding meets one demand."""
    left = {id: held for id, held in item.held.items() if held.keep}
    met: dict[int, str] = {}
    for index, demand in enumerate(item.demands.all):
        if not demand.keep:
            continue
        for id, held in left.items():
            same = demand.resource == id if demand.resource is not None else demand.need.type == held.type
            if same and held.units >= demand.units:
                met[index] = id
                del left[id]
                break
    return met


def more(held: Held, before: Held | None) -> Held:
    return held if before is None else Held(held.type, held.units + before.units, held.keep or before.keep)
