"""An event as it was received: what matching needs of it, what expressions see, and what follows from it carries on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from kernel_runtime.command import Cause

from rules_svc.domain.model import Event
from rules_svc.expr import Facts

SERVICE = "/kernel/rules-svc"
"""The source of what rules-svc says by itself; a rule's is `/kernel/rules-svc/RULE`."""


@dataclass(frozen=True)
class Received:
    """`view` is what CEL sees as `event`; `cause` is that of whatever follows, one deeper than the event."""

    event: Event
    view: Mapping[str, Any]
    process: Mapping[str, Any] | None
    entity: Mapping[str, Any] | None
    cause: Cause

    @cached_property
    def key(self) -> bytes:
        return event_key(self.event.tenant, self.event.source, self.event.id)

    def facts(self, now: datetime) -> Facts:
        return Facts(self.view, self.process, self.entity, now)


def event_key(tenant: str, source: str, id: str) -> bytes:
    """An event counts once by its source and id within its tenant; 16 bytes stand for them."""
    return hashlib.blake2b(f"{tenant}\x1f{source}\x1f{id}".encode(), digest_size=16).digest()
