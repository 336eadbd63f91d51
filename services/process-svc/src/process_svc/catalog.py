"""Service definitions in memory: versions never change, so what was read once is kept, with its compiled form."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson
from kernel_contracts.process import Demand, Requirement, ServiceDefinition, Skill
from kernel_contracts.resource import OPERATOR_TYPE, entity_lock
from kernel_contracts.vocabulary import EntityAccess, Hold, ServiceKind
from kernel_runtime.problem import Problem, invalid, pointer

from process_svc.domain.process import Process
from process_svc.domain.service import Service
from process_svc.store.services import StoredService

KEPT = 2_000
"""Versions in memory; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Entry:
    service: Service
    definition: ServiceDefinition
    form: Any
    """The compiled form, or None."""
    demands: bytes
    """JSON of the demands of a process without an operator of its own and without an exclusive entity."""


class Catalog:
    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, int], Entry] = {}

    def missing(self, wanted: Iterable[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
        return [key for key in set(wanted) if key not in self._entries]

    def keep(self, stored: Iterable[StoredService]) -> None:
        for each in stored:
            key = (each.tenant, each.name, each.version)
            if key not in self._entries:
                definition = ServiceDefinition.model_validate_json(each.definition)
                self._entries[key] = compiled(each.name, each.version, definition)
        while len(self._entries) > KEPT:
            del self._entries[next(iter(self._entries))]

    def get(self, tenant: str, name: str, version: int) -> Entry:
        return self._entries[tenant, name, version]


def compiled(name: str, version: int, definition: ServiceDefinition) -> Entry:
    backoff = definition.retry.backoff
    service = Service(
        name,
        version,
        definition.kind,
        definition.entity_type,
        definition.entity_access,
        definition.priority,
        definition.queue,
        None if definition.expected_duration is None else definition.expected_duration.total_seconds(),
        None if definition.due_in is None else definition.due_in.total_seconds(),
        definition.retry.max_attempts,
        backoff.initial.total_seconds(),
        backoff.factor,
        backoff.max.total_seconds(),
        definition.on_exhausted,
        definition.on_parent_close,
    )
    form = None if definition.form is None else jsonschema_rs.validator_for(definition.form)
    return Entry(service, definition, form, orjson.dumps(_demands(definition, None)))


def demands(entry: Entry, process: Process) -> bytes:
    """JSON of what `process` demands."""
    exclusive = entry.service.entity_access is EntityAccess.EXCLUSIVE and process.entity_type is not None
    if process.assigned is None and not exclusive:
        return entry.demands
    found = _demands(entry.definition, process.assigned)
    if exclusive:
        lock = Demand(
            type="entity", resource=entity_lock(process.entity_type or "", process.entity_id or ""), hold=Hold.PROCESS
        )
        found.append(lock.model_dump(mode="json", exclude_defaults=True) | {"type": "entity"})
    return orjson.dumps(found)


def _demands(definition: ServiceDefinition, assigned: str | None) -> list[dict[str, Any]]:
    """The implicit operator first, with the conditions of requirements of type operator; then the others as they are."""
    people = [each for each in definition.requirements if each.type == OPERATOR_TYPE]
    found: list[Demand] = []
    if definition.kind is not ServiceKind.AUTOMATIC or people:
        found.append(
            Demand(
                type=OPERATOR_TYPE,
                resource=assigned,
                selector={name: value for each in people for name, value in each.selector.items()},
                roles=[*definition.roles, *(role for each in people for role in each.roles)],
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


def check(definition: ServiceDefinition) -> Problem | None:
    """What pydantic can't see: whether the form is a JSON Schema, complete in itself."""
    if definition.form is None:
        return None
    if (reference := _outside(definition.form)) is not None:
        return invalid(
            f"form: $ref {reference!r} leads outside; put the schema under $defs.", [("/form", "no outside $ref")]
        )
    try:
        jsonschema_rs.meta.validate(definition.form)
        jsonschema_rs.validator_for(definition.form)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        message = getattr(error, "message", None) or str(error).split("\n", 1)[0]
        where = "/form" + pointer(getattr(error, "instance_path", ()))
        return invalid(f"form is not a valid JSON Schema: {message}", [(where, message)])
    return None


def _outside(schema: Any) -> str | None:
    stack = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            for word in ("$ref", "$dynamicRef", "$schema"):
                reference = item.get(word)
                if isinstance(reference, str) and word != "$schema" and not reference.startswith("#"):
                    return reference
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return None


def check_output(entry: Entry, output: Any) -> Problem | None:
    """Whether `output` fits the form; each finding with its pointer."""
    if entry.form is None or entry.form.is_valid(output):
        return None
    errors = [
        ("/output" + pointer(error.instance_path), error.message) for error in list(entry.form.iter_errors(output))[:20]
    ]
    return invalid(f"The output doesn't fit the form of {entry.service.name}: {errors[0][1]}", errors)
