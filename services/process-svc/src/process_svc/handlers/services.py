"""Defining services: a change is a new version, the same again is none."""

from datetime import datetime
from typing import Any

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.topics import DEFINITIONS
from kernel_contracts.vocabulary import Role
from kernel_runtime.command import Answer, Command, Result, message
from kernel_runtime.problem import invalid, pointer

from process_svc import catalog, wire
from process_svc.handlers.answers import forbidden
from process_svc.handlers.bodies import Definitions
from process_svc.handlers.work import Work
from process_svc.store.services import StoredService


def define(work: Work, command: Command, now: datetime) -> Result:
    """All of them or none; with `apply` False only says what would happen."""
    if not command.roles & {Role.ADMIN.value, Role.DESIGNER.value}:
        return forbidden("define services")
    body: Definitions = command.body
    errors: list[tuple[str, str]] = []
    for name, definition in body.services.items():
        if (wrong := catalog.check(definition)) is not None:
            if body.single:
                return wrong
            errors += [(pointer(("services", name)) + where, text) for where, text in wrong.errors]
    if errors:
        return invalid(f"{errors[0][0]}: {errors[0][1]}", errors)
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
    last: StoredService | None = None
    for name, definition in body.services.items():
        said, last = _define(work, command, name, definition, now, apply=body.apply)
        outcome[said].append(f"service/{name}")
    if body.single and last is not None:
        status = 201 if outcome["created"] else 200
        return Answer(status, orjson.dumps(told(last)), {"etag": f'"{last.version}"'})
    return Answer(200, orjson.dumps(outcome))


def told(stored: StoredService) -> dict[str, Any]:
    """A definition as the public face has it."""
    return {"name": stored.name, "version": stored.version, **orjson.loads(stored.definition)}


def _define(
    work: Work, command: Command, name: str, definition: ServiceDefinition, now: datetime, *, apply: bool
) -> tuple[str, StoredService]:
    key = (command.tenant, name)
    before = work.definitions.get(key)
    digest, text = catalog.fingerprint(definition)
    if before is not None and before.hash == digest:
        return "unchanged", before
    new = StoredService(command.tenant, name, 1 if before is None else before.version + 1, digest, text)
    if apply:
        work.definitions[key] = new
        work.new_definitions.append(new)
        work.defined_at, work.defined_by = now, command.by
        work.messages.append(_published(command, new, now))
    return "created" if before is None else "changed", new


def _published(command: Command, new: StoredService, now: datetime) -> Any:
    body = {
        "tenant": new.tenant,
        "name": new.name,
        "version": new.version,
        "definition": orjson.Fragment(new.definition),
    }
    return message(
        DEFINITIONS,
        f"service/{new.tenant}/{new.name}",
        orjson.dumps(body),
        id=f"service/{new.tenant}/{new.name}.{new.version}",
        type=types.SERVICE_PUBLISHED,
        source=wire.SOURCE,
        at=now,
        tenant=new.tenant,
        cause=command.cause,
        version=new.version,
    )
