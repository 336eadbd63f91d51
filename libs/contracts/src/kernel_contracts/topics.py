"""The one page of the bus: each topic with its key, who writes and reads it, what it carries, how it is kept.

Topics, access rights, compose, k8s and the AsyncAPI document are made from it. A topic without messages here carries the
event types of its publishers. Each topic but the compacted one has a `-dlq` beside it for what its consumers gave up on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from kernel_contracts import message_types as types
from kernel_contracts import process, resource, rules, scheduler

PROCESS_COMMANDS: Final = "process-commands"
PROCESS_EVENTS: Final = "process-events"
RESOURCE_COMMANDS: Final = "resource-commands"
RESOURCE_EVENTS: Final = "resource-events"
RULE_EVENTS: Final = "rule-events"
DEFINITIONS: Final = "definitions"
BUSINESS_EVENTS: Final = "business-events"

OTHERS: Final = "others"
"""Systems that are not ours."""

_DAY_MS: Final = 24 * 60 * 60 * 1000

_MAX_BYTES: Final = {"max.message.bytes": "4194304"}
"""Above what an outbox row may hold: a record that no broker takes would block all behind it."""


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    key: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    messages: Mapping[str, type[BaseModel]]
    partitions: int = 4
    retention_days: int = 7
    compacted: bool = False
    dead_letters: bool = True

    @property
    def dlq(self) -> str:
        return f"{self.name}-dlq"

    @property
    def config(self) -> dict[str, str]:
        """The topic's settings as Kafka names them."""
        if self.compacted:
            return {"cleanup.policy": "compact", **_MAX_BYTES}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_days * _DAY_MS), **_MAX_BYTES}

    @property
    def dlq_config(self) -> dict[str, str]:
        return {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS), **_MAX_BYTES}


TOPICS: Final = (
    Topic(
        PROCESS_COMMANDS,
        key="pid, or the creator's dedupe key",
        producers=("scheduler-svc", "resource-svc", "rules-svc", OTHERS),
        consumers=("process-svc",),
        messages={
            types.CREATE_PROCESS: process.CreateProcess,
            types.SUSPEND_PROCESS: process.SuspendProcess,
            types.RESUME_PROCESS: process.ResumeProcess,
            types.CANCEL_PROCESS: process.CancelProcess,
            types.COMPLETE_PROCESS: process.CompleteProcess,
            types.FAIL_PROCESS: process.FailProcess,
            types.WAIT_PROCESS: process.WaitProcess,
            types.WAKE_PROCESS: process.WakeProcess,
            types.RELEASE_PROCESS: process.ReleaseProcess,
            types.PREEMPT_PROCESS: process.PreemptProcess,
            types.PRIORITIZE_PROCESS: process.PrioritizeProcess,
            types.ASSIGN_PROCESS: process.AssignProcess,
            types.ROLLBACK_PROCESS: process.RollbackProcess,
            types.RETRY_PROCESS: process.RetryProcess,
            types.PATCH_CONTEXT: process.PatchContext,
            types.MIGRATE_PROCESS: process.MigrateProcess,
            types.CALL_PROCESS: process.CallProcess,
            types.MAP_PROCESS: process.MapProcess,
            types.ITERATE_PROCESS: process.IterateProcess,
            types.ARRIVE_AT_BARRIER: process.ArriveAtBarrier,
        },
    ),
    Topic(
        PROCESS_EVENTS,
        key="pid",
        producers=("process-svc",),
        consumers=("scheduler-svc", "resource-svc", "rules-svc", "gateway", OTHERS),
        messages={
            types.PROCESS_CREATED: process.ProcessEvent,
            types.PROCESS_READY: process.ProcessEvent,
            types.PROCESS_RUNNING: process.ProcessEvent,
            types.PROCESS_WAITING: process.ProcessEvent,
            types.PROCESS_SUSPENDED: process.ProcessEvent,
            types.PROCESS_TERMINATED: process.ProcessEvent,
            types.PROCESS_PRIORITIZED: process.ProcessEvent,
            types.PROCESS_ASSIGNED: process.ProcessEvent,
            types.CONTEXT_CHANGED: process.ProcessEvent,
            types.COMMAND_REFUSED: process.CommandRefused,
            types.DISPATCH_REFUSED: process.DispatchRefused,
            types.INCIDENT_OPENED: process.IncidentEvent,
            types.INCIDENT_RESOLVED: process.IncidentEvent,
        },
    ),
    Topic(
        RESOURCE_COMMANDS,
        key="queue",
        producers=("scheduler-svc", "rules-svc"),
        consumers=("resource-svc",),
        messages={
            types.ALLOCATE_RESOURCES: resource.AllocateResources,
            types.RELEASE_RESOURCES: resource.ReleaseResources,
        },
    ),
    Topic(
        RESOURCE_EVENTS,
        key="pid, or resource id",
        producers=("resource-svc",),
        consumers=("process-svc", "scheduler-svc", "rules-svc", "gateway"),
        messages={
            types.RESOURCES_GRANTED: resource.ResourcesGranted,
            types.RESOURCES_DENIED: resource.ResourcesDenied,
            types.RESOURCES_RELEASED: resource.ResourcesReleased,
            types.RESOURCE_CHANGED: resource.ResourceChanged,
        },
    ),
    Topic(
        RULE_EVENTS,
        key="rule",
        producers=("rules-svc",),
        consumers=("gateway", OTHERS),
        messages={types.RULE_FIRED: rules.RuleFired},
    ),
    Topic(
        DEFINITIONS,
        key="kind and name",
        producers=("process-svc", "resource-svc", "rules-svc", "scheduler-svc"),
        consumers=("scheduler-svc", OTHERS),
        messages={
            types.SERVICE_PUBLISHED: process.ServicePublished,
            types.RESOURCE_CHANGED: resource.ResourceChanged,
            types.QUEUE_CHANGED: scheduler.QueueChanged,
            types.RULE_PUBLISHED: rules.RulePublished,
        },
        partitions=1,
        compacted=True,
        dead_letters=False,
    ),
    Topic(
        BUSINESS_EVENTS,
        key="entity or source",
        producers=(OTHERS, "gateway", "rules-svc"),
        consumers=("rules-svc",),
        messages={},
    ),
)

BY_NAME: Final[Mapping[str, Topic]] = {topic.name: topic for topic in TOPICS}
