"""scheduler-svc: queues as they are defined and told."""

from typing import Annotated

from pydantic import Field

from kernel_contracts.base import Command, Event, Name
from kernel_contracts.vocabulary import DispatchMode, QueuePolicy


class QueueLimits(Command):
    """At most so many at once; None is no limit."""

    running: Annotated[int, Field(ge=0)] | None = None
    per_second: Annotated[float, Field(gt=0)] | None = None
    per_key: Annotated[int, Field(ge=1)] | None = None


class QueueDefinition(Command):
    """A scheduling domain. Every process is in one; `default` exists without being defined."""

    policy: QueuePolicy = QueuePolicy.PRIORITY
    weights: dict[Name, Annotated[float, Field(gt=0)]] = {}
    dispatch: DispatchMode = DispatchMode.PUSH
    preemption: bool = False
    limits: QueueLimits = QueueLimits()
    paused: bool = False


class QueueChanged(Event):
    """A queue's definition as it is now, on the topic `definitions`."""

    tenant: str
    name: str
    version: int
    definition: QueueDefinition
