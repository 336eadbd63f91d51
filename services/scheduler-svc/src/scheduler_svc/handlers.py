"""What each command does: one function each, for both doors. Events change the planner's model; queues are defined."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kernel_contracts.scheduler import QueueDefinition
from kernel_contracts.vocabulary import DispatchMode, ProcessState, QueuePolicy
from kernel_runtime.command import Answer, Command, Result, json_answer
from kernel_runtime.pipeline import Handler
from kernel_runtime.problem import Problem, invalid, pointer

from scheduler_svc import metrics, wire
from scheduler_svc.batch import Batch
from scheduler_svc.store.queues import StoredQueue

DONE = Answer()


def ready(work: Batch, command: Command, now: datetime) -> Result:
    arrival: wire.Arrival = command.body
    if arrival.event.state is ProcessState.READY:
        work.state.ready(wire.item_of(arrival, command.tenant, command.cause))
    return DONE


def assigned(work: Batch, command: Command, now: datetime) -> Result:
    """Of a READY process: the demands name the operator now. Of one in another state: its version is another."""
    event, demands = command.body.event, command.body.demands
    if event.state is ProcessState.READY and demands is not None:
        return ready(work, command, now)
    work.state.moved(event.pid, event.version)
    return DONE


def prioritized(work: Batch, command: Command, now: datetime) -> Result:
    event: wire.ReadyEvent = command.body.event
    work.state.prioritized(event.pid, event.version, event.priority)
    return DONE


def moved(work: Batch, command: Command, now: datetime) -> Result:
    work.state.moved(*command.body)
    return DONE


def runs(work: Batch, command: Command, now: datetime) -> Result:
    work.state.runs(*command.body)
    return DONE


def left(work: Batch, command: Command, now: datetime) -> Result:
    pid, version = command.body
    work.state.left(pid, version, now)
    return DONE


def ended(work: Batch, command: Command, now: datetime) -> Result:
    pid, version = command.body
    work.state.left(pid, version, now, ended=True)
    return DONE


def dispatch_refused(work: Batch, command: Command, now: datetime) -> Result:
    told = command.body
    version = command.envelope.version if command.envelope is not None else None
    work.state.refused(told.pid, told.dispatch_id, version or 0, told.state, wire.refusal_reason(told), now)
    return DONE


def granted(work: Batch, command: Command, now: datetime) -> Result:
    told = command.body
    work.state.granted(command.tenant, told.pid, told.dispatch_id, told.queue, wire.usage_of(told.allocations), now)
    return DONE


def denied(work: Batch, command: Command, now: datetime) -> Result:
    told = command.body
    usage = wire.usage_of(told.usage)
    metrics.DENIALS.inc()
    work.state.denied(command.tenant, told.pid, told.dispatch_id, usage, wire.reason_of(told), now)
    return DONE


def released(work: Batch, command: Command, now: datetime) -> Result:
    told = command.body
    usage = wire.usage_of(told.allocations)
    work.state.released(command.tenant, told.pid, told.dispatch_id, usage, wire.release_reason(told), now)
    return DONE


def resource_changed(work: Batch, command: Command, now: datetime) -> Result:
    work.state.defined(wire.definition_of(command.body, command.tenant), now)
    return DONE


def queue_changed(work: Batch, command: Command, now: datetime) -> Result:
    work.state.define(wire.settings_of(command.body))
    return DONE


def tick(work: Batch, command: Command, now: datetime) -> Result:
    """Time has passed: the plan that ends every batch sees to it."""
    return DONE


@dataclass(frozen=True, slots=True)
class DefineQueue:
    name: str
    definition: QueueDefinition
    if_match: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True, slots=True)
class ApplyQueues:
    definitions: Mapping[str, QueueDefinition]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.definitions)


def define_queue(work: Batch, command: Command, now: datetime) -> Result:
    wanted: DefineQueue = command.body
    errors = not_yet(wanted.definition)
    if errors:
        return invalid(errors[0][1], errors)
    known = work.queues.get((command.tenant, wanted.name))
    version = 0 if known is None else known.version
    if wanted.if_match is not None and wanted.if_match != version:
        return Problem(
            412, "Precondition failed", f"The queue {wanted.name} has version {version}, not {wanted.if_match}."
        )
    if known is not None and known.definition == wanted.definition:
        return _told(known, 200)
    return _told(work.define(command, wanted.name, wanted.definition, now), 201 if known is None else 200)


def apply_queues(work: Batch, command: Command, now: datetime) -> Result:
    """All or none of them."""
    wanted: ApplyQueues = command.body
    errors = apply_errors(wanted.definitions)
    if errors:
        return invalid(errors[0][1], errors)
    result = difference(wanted.definitions, {name: work.queues.get((command.tenant, name)) for name in wanted.names})
    for name, definition in wanted.definitions.items():
        if f"queue/{name}" not in result["unchanged"]:
            work.define(command, name, definition, now)
    return json_answer(result)


def difference(wanted: Mapping[str, QueueDefinition], known: Mapping[str, StoredQueue | None]) -> dict[str, list[str]]:
    """What applying would create, change and leave as it is, as `queue/NAME`."""
    result: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    for name, definition in wanted.items():
        stored = known.get(name)
        kind = "created" if stored is None else "unchanged" if stored.definition == definition else "changed"
        result[kind].append(f"queue/{name}")
    return result


def apply_errors(definitions: Mapping[str, QueueDefinition]) -> list[tuple[str, str]]:
    return [
        (pointer(["queues", name]) + where, why)
        for name, definition in definitions.items()
        for where, why in not_yet(definition)
    ]


def not_yet(definition: QueueDefinition) -> list[tuple[str, str]]:
    """What a definition asks for that there is not yet: (pointer, message) each."""
    found: list[tuple[str, str]] = []
    if definition.weights and definition.policy is not QueuePolicy.WEIGHTED:
        found.append(("/weights", f"Weights are for the policy weighted; this one is {definition.policy.value}."))
    if definition.dispatch is not DispatchMode.PUSH:
        found.append(("/dispatch", f"Dispatch by {definition.dispatch.value} comes later; there is push."))
    if definition.preemption:
        found.append(("/preemption", "Preemption comes later."))
    for name in ("per_second", "per_key"):
        if getattr(definition.limits, name) is not None:
            found.append((f"/limits/{name}", f"The limit {name} comes later; there is running."))
    return found


def _told(queue: StoredQueue, status: int) -> Answer:
    return json_answer(queue.as_dict(), status, etag=f'"{queue.version}"')


HANDLERS: Mapping[str, Handler] = {
    "ready": ready,
    "assigned": assigned,
    "prioritized": prioritized,
    "moved": moved,
    "runs": runs,
    "left": left,
    "ended": ended,
    "dispatch_refused": dispatch_refused,
    "granted": granted,
    "denied": denied,
    "released": released,
    "resource_changed": resource_changed,
    "queue_changed": queue_changed,
    "tick": tick,
    "define_queue": define_queue,
    "apply_queues": apply_queues,
}
