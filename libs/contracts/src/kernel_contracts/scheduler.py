"""scheduler-svc: queues as they are defined and told."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from kernel_contracts.base import Command, Duration, Event, Name, Priority
from kernel_contracts.process import Skill
from kernel_contracts.vocabulary import DispatchMode, QueuePolicy


class QueueLimits(Command):
    """At most so many at once; None is no limit."""

    running: Annotated[int, Field(ge=0)] | None = None
    per_second: Annotated[float, Field(gt=0)] | None = None
    per_key: Annotated[int, Field(ge=1)] | None = None


class QueueAgeing(Command):
    """Of the policy `sjf`: a second of expected length stands back as long as `factor` seconds of waiting.

    Never longer than `bound`, which long ones come near to: nothing is passed by what became READY more than that after it.
    """

    factor: Annotated[float, Field(ge=0, le=1e6)] = 480.0
    bound: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=3650))] = timedelta(days=5)


class QueueDefinition(Command):
    """A scheduling domain. Every process is in one; `default` exists without being defined.

    `weights`: of the policy `weighted`, a service's share; one that is not named has 1. `backfill`: the first that finds no
    room has it kept from when it is expected to come free, and others go in front only where they don't delay it.
    """

    policy: QueuePolicy = QueuePolicy.PRIORITY
    weights: dict[Name, Annotated[float, Field(gt=0)]] = {}
    ageing: QueueAgeing = QueueAgeing()
    backfill: bool = False
    dispatch: DispatchMode = DispatchMode.PUSH
    preemption: bool = False
    limits: QueueLimits = QueueLimits()
    paused: bool = False


class AddedResources(Command):
    """So many more of a type, each there from now on."""

    type: Name = "operator"
    count: Annotated[int, Field(ge=1, le=1_000)] = 1
    capacity: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    roles: Annotated[list[Name], Field(max_length=100)] = []
    skills: Annotated[list[Name | Skill], Field(max_length=100)] = []
    labels: dict[Name, str] = {}


class Simulation(Command):
    """What would be different: resources more or fewer (by id), other queues, other priorities (by service)."""

    horizon: Annotated[Duration, Field(ge=timedelta(minutes=1), le=timedelta(days=31))] = timedelta(hours=8)
    add: Annotated[list[AddedResources], Field(max_length=50)] = []
    remove: Annotated[list[str], Field(max_length=1_000)] = []
    queues: dict[Name, QueueDefinition] = {}
    priorities: dict[Name, Priority] = {}


class QueueChanged(Event):
    """A queue's definition as it is now, on the topic `definitions`."""

    tenant: str
    name: str
    version: int
    definition: QueueDefinition
