"""Defining services: a change is a new version, the same again is none."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.vocabulary import Role
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, invalid, pointer

from process_svc import catalog
from process_svc.handlers.answers import forbidden
from process_svc.handlers.bodies import Definitions
from process_svc.handlers.work import Work
from process_svc.store.services import StoredService

_DESIGNERS = frozenset({Role.ADMIN.value, Role.DESIGNER.value})


def define(work: Work, command: Command, now: datetime) -> Result:
    """All of them or none."""
    body: Definitions = command.body
    if (wrong := refusal(command.roles, body.services, single=body.single)) is not None:
        return wrong
    if body.if_match is not None:
        for name in body.services:
            version = _version(work.definitions.get((command.tenant, name)))
            if version != body.if_match:
                return Problem(
                    412, "Precondition failed", f"The service {name} has version {version}, not {body.if_match}."
                )
    texts = {name: catalog.fingerprint(definition) for name, definition in body.services.items()}
    known = {name: work.definitions.get((command.tenant, name)) for name in texts}
    outcome = difference(texts, known)
    for name, (digest, text) in texts.items():
        before, definition = known[name], body.services[name]
        if before is None or before.hash != digest:
            new = StoredService(command.tenant, name, _version(before) + 1, digest, text)
            work.define(new, definition.kind.value, definition.roles, command, now)
    if body.single:
        last = work.definitions[command.tenant, next(iter(texts))]
        return Answer(201 if outcome["created"] else 200, orjson.dumps(told(last)), {"etag": f'"{last.version}"'})
    return Answer(200, orjson.dumps(outcome))


def refusal(
    roles: frozenset[str], services: Mapping[str, ServiceDefinition], *, single: bool = False
) -> Problem | None:
    """Why these can't be defined, with a pointer to each fault."""
    if not roles & _DESIGNERS:
        return forbidden("define services")
    errors: list[tuple[str, str]] = []
    for name, definition in services.items():
        if (wrong := catalog.check(definition)) is not None:
            if single:
                return wrong
            errors += [(pointer(("services", name)) + where, text) for where, text in wrong.errors]
    return invalid(f"{errors[0][0]}: {errors[0][1]}", errors) if errors else None


def difference(
    wanted: Mapping[str, tuple[bytes, str]], known: Mapping[str, StoredService | None]
) -> dict[str, list[str]]:
    """What defining these would create, change and leave as it is, as `service/NAME`."""
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    for name, (digest, _) in wanted.items():
        before = known.get(name)
        kind = "created" if before is None else "unchanged" if before.hash == digest else "changed"
        outcome[kind].append(f"service/{name}")
    return outcome


def told(stored: StoredService) -> dict[str, Any]:
    """A definition as the public face has it."""
    return {"name": stored.name, "version": stored.version, **orjson.loads(stored.definition)}


def _version(stored: StoredService | None) -> int:
    return 0 if stored is None else stored.version
