"""Service definitions in memory: versions never change, so what was read once is kept, with its compiled form."""

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jsonschema_rs
import orjson
from kernel_contracts.process import Demand, Requirement, ServiceDefinition, Skill, Timeouts
from kernel_contracts.resource import ENTITY_TYPE, OPERATOR_TYPE, entity_lock
from kernel_contracts.vocabulary import EntityAccess, Hold, PerEntity, ServiceKind
from kernel_runtime.expressions.template import Compute, errors
from kernel_runtime.problem import Problem, invalid, pointer

from process_svc.domain.process import Process
from process_svc.domain.service import Retrying, Service
from process_svc.expr import LANGUAGE, computed
from process_svc.store.services import StoredService

KEPT = 5_000
"""Versions in memory; beyond that all are forgotten, and read again where they are needed."""


@dataclass(frozen=True, slots=True)
class Entry:
    service: Service
    definition: ServiceDefinition
    form: Any
    """The compiled form, or None."""
    input_schema: Any
    """The compiled schema of the context that it starts with, or None."""
    input: Compute | None
    output: Compute | None
    """What they compute of a scope; see `handlers.mappings`."""
    demands: bytes
    """JSON of the demands of a process without an operator of its own and without an exclusive entity."""


class Catalog:
    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, int], Entry] = {}
        self.maps = False
        """Whether any that was ever here maps its output."""
        self.limits = False
        """Whether any that was ever here has a time by which somebody must begin."""
        self.governs = False
        """Whether any that was ever here says something of processes on one entity."""
        self.indexes = False
        """Whether any declares members of contexts to be indexed."""

    def missing(self, wanted: Iterable[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
        """Which of these a batch has to read; asked once, with all that it needs."""
        if len(self._entries) > KEPT:
            self._entries.clear()
        return [key for key in set(wanted) if key not in self._entries]

    def keep(self, stored: Iterable[StoredService]) -> None:
        for each in stored:
            key = (each.tenant, each.name, each.version)
            if key not in self._entries:
                definition = ServiceDefinition.model_validate_json(each.definition)
                self._entries[key] = compiled(each.name, each.version, definition)
                self.indexes |= bool(definition.indexed)
                self.maps |= bool(definition.output)
                self.limits |= timeouts(definition).start is not None
                self.governs |= definition.per_entity is not PerEntity.PARALLEL

    def find(self, tenant: str, name: str, version: int) -> Entry | None:
        """Where there is such a version, and the batch asked for it."""
        return self._entries.get((tenant, name, version))

    def get(self, tenant: str, name: str, version: int) -> Entry:
        return self._entries[tenant, name, version]


def compiled(name: str, version: int, definition: ServiceDefinition) -> Entry:
    retry, limits = definition.retry, timeouts(definition)
    service = Service(
        name,
        version,
        definition.kind,
        definition.entity_type,
        definition.entity_access,
        definition.priority,
        definition.queue,
        _seconds(definition.expected_duration),
        _seconds(definition.due_in),
        _seconds(limits.finish),
        retry.max_attempts,
        retry.backoff.initial.total_seconds(),
        retry.backoff.factor,
        retry.backoff.max.total_seconds(),
        definition.on_exhausted,
        definition.on_parent_close,
        definition.events,
        definition.per_entity,
        _seconds(limits.start),
        _seconds(limits.heartbeat),
        Retrying(retry.jitter, _seconds(retry.budget), frozenset(retry.on), frozenset(retry.non_retryable)),
        definition.compensation,
    )
    form = None if definition.form is None else _validator(definition.form)
    start = None if definition.input_schema is None else _validator(definition.input_schema)
    return Entry(
        service,
        definition,
        form,
        start,
        computed(definition.input) if definition.input else None,
        computed(definition.output) if definition.output else None,
        orjson.dumps(_demands(definition, None)),
    )


def timeouts(definition: ServiceDefinition) -> Timeouts:
    limits = definition.timeout
    return limits if isinstance(limits, Timeouts) else Timeouts(finish=limits)


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def demands(entry: Entry, process: Process) -> bytes:
    """JSON of what `process` demands."""
    alone = _alone(entry.service, process)
    if process.assigned is None and not alone:
        return entry.demands
    found = _demands(entry.definition, process.assigned)
    for resource in alone:
        lock = Demand(type=ENTITY_TYPE, resource=resource, hold=Hold.PROCESS)
        found.append(lock.model_dump(mode="json", exclude_defaults=True) | {"type": ENTITY_TYPE})
    return orjson.dumps(found)


def _alone(service: Service, process: Process) -> list[str]:
    """The locks of the entities that it needs for itself, each once, in a fixed order."""
    found: set[str] = set()
    if service.entity_access is EntityAccess.EXCLUSIVE and process.entity_type is not None:
        found.add(entity_lock(process.entity_type, process.entity_id or ""))
    for each in process.entities:
        if each.access is EntityAccess.EXCLUSIVE:
            found.add(entity_lock(each.type, each.id))
    return sorted(found)


def _demands(definition: ServiceDefinition, assigned: str | None) -> list[dict[str, Any]]:
    """The implicit operator first, with the conditions of requirements of type operator; then the others as they are."""
    people = [each for each in definition.requirements if each.type == OPERATOR_TYPE]
    roles = list(definition.roles)
    for each in people:  # any of them will do, so a further condition narrows them where both overlap
        roles = [role for role in roles if role in each.roles] or each.roles or roles
    found: list[Demand] = []
    if definition.kind is not ServiceKind.AUTOMATIC or people:
        found.append(
            Demand(
                type=OPERATOR_TYPE,
                resource=assigned,
                selector={name: value for each in people for name, value in each.selector.items()},
                roles=roles,
                skills=[skill for each in people for skill in _skills(each)],
                units=max((each.units for each in people), default=1),
                hold=people[0].hold if people else Hold.RUNNING,
            )
        )
    found += [
        Demand(
            type=each.type,
            selector=each.selector,
            roles=each.roles,
            skills=_skills(each),
            units=each.units,
            hold=each.hold,
        )
        for each in definition.requirements
        if each.type != OPERATOR_TYPE
    ]
    return [demand.model_dump(mode="json", exclude_defaults=True) | {"type": demand.type} for demand in found]


def _skills(requirement: Requirement) -> list[Skill]:
    return [Skill(skill=each) if isinstance(each, str) else each for each in requirement.skills]


def fingerprint(definition: ServiceDefinition) -> tuple[bytes, str]:
    """(content hash, canonical JSON): the same definition again has the same."""
    text = orjson.dumps(definition.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).digest(), text.decode()


def _validator(form: Any) -> Any:
    """Nothing is fetched, and patterns are matched in linear time."""
    return jsonschema_rs.validator_for(form, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions())


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of the schema: put it under $defs, nothing is fetched from elsewhere")


LONGEST = timedelta(days=36_525)
"""Of any duration: what is added to a time must stay on the calendar."""


def check(definition: ServiceDefinition) -> Problem | None:
    """What pydantic can't see: whether durations are usable, and the form is a JSON Schema, complete in itself."""
    backoff, limits = definition.retry.backoff, timeouts(definition)
    durations = {
        "/due_in": definition.due_in,
        "/timeout" if limits is not definition.timeout else "/timeout/finish": limits.finish,
        "/timeout/start": limits.start,
        "/timeout/heartbeat": limits.heartbeat,
        "/retry/budget": definition.retry.budget,
        "/expected_duration": definition.expected_duration,
        "/retry/backoff/initial": backoff.initial,
        "/retry/backoff/max": backoff.max,
    }
    long = [(where, "is longer than a hundred years") for where, each in durations.items() if each and each > LONGEST]
    if long:
        return invalid(f"{long[0][0]} {long[0][1]}.", long)
    wrong = [
        (error.pointer, f"line {error.line}, column {error.column}: {error.detail}" if error.line else error.detail)
        for name in ("input", "output")
        for error in errors(LANGUAGE, getattr(definition, name), f"/{name}")
    ]
    if wrong:
        return invalid(f"{wrong[0][0]}: {wrong[0][1]}", wrong)
    return _check_schema("form", definition.form) or _check_schema("input_schema", definition.input_schema)


def _check_schema(name: str, schema: Any) -> Problem | None:
    if schema is None:
        return None
    try:
        jsonschema_rs.meta.validate(schema)
        _validator(schema)
    except Exception as error:  # whatever the library finds: it is about the schema
        message = (getattr(error, "message", None) or str(error).split("\n", 1)[0])[:500]
        where = f"/{name}" + pointer(getattr(error, "instance_path", ()))
        return invalid(f"{name} is not a valid JSON Schema: {message}", [(where, message)])
    return None


def check_output(entry: Entry, output: Any) -> Problem | None:
    """Whether `output` fits the form; each finding with its pointer."""
    if entry.form is None or entry.form.is_valid(output):
        return None
    wrong = _errors(entry.form, output, "/output")
    return invalid(f"The output doesn't fit the form of {entry.service.name}: {wrong[0][1]}", wrong)


def check_start(entry: Entry, context: Any) -> Problem | None:
    """Whether a process may start with `context`; each finding with its pointer."""
    if entry.input_schema is None or entry.input_schema.is_valid(context):
        return None
    wrong = _errors(entry.input_schema, context, "/context")
    return invalid(f"The context doesn't fit the input_schema of {entry.service.name}: {wrong[0][1]}", wrong)


def _errors(validator: Any, value: Any, where: str) -> list[tuple[str, str]]:
    found = itertools.islice(validator.iter_errors(value), 20)
    return [(where + pointer(error.instance_path), error.message[:300]) for error in found]
