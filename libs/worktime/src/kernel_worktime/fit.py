"""The first windows in which something fits."""

from collections.abc import Iterable

from kernel_worktime.spans import Span


def first_fit(
    windows: Iterable[Span], duration: int, *, units: int = 1, split: bool = False, capacity: int | None = None
) -> list[Span] | None:
    """The earliest spans that together last `duration`: one in one piece, or with `split` as many as it takes.

    `windows` are in order and are read only as far as needed, so an endless iterator will do; None where they end before.
    Every moment of the result has room for `units`, which is also the capacity of its spans. In one piece means without
    a gap, not without a change of capacity. `capacity` stands for windows that name none (WHOLE does, if it is not given).
    """
    if duration <= 0:
        raise ValueError("a duration is more than nothing")
    taken: list[Span] = []
    left = duration
    for start, end, room in windows:
        if min(room, room if capacity is None else capacity) < units:
            continue
        if taken and taken[-1].end == start:
            start = taken.pop().start
            left = duration - sum(span.end - span.start for span in taken)
        elif taken and not split:
            taken.clear()
            left = duration
        if end - start >= left:
            taken.append(Span(start, start + left, units))
            return taken
        taken.append(Span(start, end, units))
        left -= end - start
    return None
