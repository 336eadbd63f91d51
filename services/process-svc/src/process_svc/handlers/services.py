"""Defining services: a change is a new version, the same again is none."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.vocabulary import Role
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, invalid, not_found, pointer

from process_svc import catalog, wire
from process_svc.domain.life import Life, changed
from process_svc.domain.process import Refusal
from process_svc.handlers.answers import forbidden, problem, too_far, utc
from process_svc.handlers.bodies import Definitions, ServiceChange
from process_svc.handlers.work import Work
from process_svc.store.lives import LifeChange
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
        if before is None or not _same(before, digest):
            new = StoredService(command.tenant, name, _version(before) + 1, digest, text)
            work.define(new, definition.kind.value, definition.roles, command, now, staged=body.staged)
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
        kind = "created" if before is None else "unchanged" if _same(before, digest) else "changed"
        outcome[kind].append(f"service/{name}")
    return outcome


def _same(before: StoredService, digest: bytes) -> bool:
    """Also where it was stored before definitions had all the members that they have now."""
    return before.hash == digest or (
        catalog.fingerprint(ServiceDefinition.model_validate_json(before.definition))[0] == digest
    )


def change(work: Work, command: Command, now: datetime) -> Result:
    """Retires a service, deprecates a version, starts or ends a canary: 200 with the life of the service."""
    body: ServiceChange = command.body
    if not command.roles & _DESIGNERS:
        return forbidden(f"{body.action} services")
    key = (command.tenant, body.name)
    life = work.lives.get(key)
    if life is None:
        return not_found("service", body.name)
    try:
        sunset = utc(body.sunset)
    except OverflowError:
        return too_far("/sunset")
    after = changed(
        life,
        body.action,
        now,
        version=body.version,
        share=body.share,
        base=body.base,
        sunset=sunset,
        reason=body.reason,
    )
    if isinstance(after, Refusal):
        return problem(after)
    said = body.model_dump(mode="json", exclude={"name", "action"}, exclude_none=True)
    row = LifeChange(*key, after.number, now, command.by, body.action, orjson.dumps(said).decode())
    work.live(key, after, row, command, now)
    return Answer(200, orjson.dumps({"name": body.name, **life_told(after)}, option=wire.UTC_Z))


def life_told(life: Life) -> dict[str, Any]:
    """As the public face has it."""
    canary = life.canary
    return {
        "latest": life.latest,
        "current": life.current,
        "retired_at": life.retired_at,
        "canary": None if canary is None else {"version": canary.version, "share": canary.share},
    }


def told(stored: StoredService) -> dict[str, Any]:
    """A definition as the public face has it."""
    return {"name": stored.name, "version": stored.version, **orjson.loads(stored.definition)}


def _version(stored: StoredService | None) -> int:
    return 0 if stored is None else stored.version
