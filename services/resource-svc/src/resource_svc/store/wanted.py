"""What a batch touches, gathered from its commands before anything is read."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kernel_runtime.command import Command

from resource_svc.domain.allocation import Request


@dataclass(slots=True)
class Wanted:
    """(tenant, id) of resources and calendars, pids, dispatch ids. `locks`: entities whose lock may not exist yet."""

    resources: set[tuple[str, str]] = field(default_factory=set)
    locks: set[tuple[str, str]] = field(default_factory=set)
    pids: set[int] = field(default_factory=set)
    dispatches: set[str] = field(default_factory=set)
    holders: set[tuple[str, str]] = field(default_factory=set)
    """Resources of which it matters who holds them."""
    calendars: set[tuple[str, str]] = field(default_factory=set)
    requests: dict[Command, Request] = field(default_factory=dict)


Touch = Callable[[Command, Wanted], None]
"""Says what one command touches."""
