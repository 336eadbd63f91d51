"""Rules and event types: a change of one is a new version, at work from its commit on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.vocabulary import DefinitionKind
from kernel_runtime.command import Answer, Command, Result, json_answer
from kernel_runtime.problem import Problem, not_found

from rules_svc import definitions
from rules_svc.book import Book, Definition
from rules_svc.work import RuleWork


@dataclass(frozen=True, slots=True)
class Define:
    """`definition` None takes it away. `if_match`: only where its version is that one."""

    kind: DefinitionKind
    name: str
    definition: RuleDefinition | EventTypeDefinition | None
    if_match: int | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """Many at once, all or nothing. `prune`: rules and event types that are not among them go."""

    changes: Sequence[Define]
    prune: bool


def define(work: RuleWork, command: Command, now: datetime) -> Result:
    """PUT: a change makes the next version, the same again does not."""
    wanted: Define = command.body
    current = work.book.get(command.tenant, wanted.kind, wanted.name)
    stale = _stale(wanted, current)
    if stale is not None:
        return stale
    row = _next_version(work.book, command.tenant, command.by, wanted, now)
    if row is not None:
        work.define(row)
    shown = row or current
    assert shown is not None
    return json_answer(shown.shown(), 201 if current is None else 200, etag=f'"{shown.version}"')


def undefine(work: RuleWork, command: Command, now: datetime) -> Result:
    """DELETE: firings and versions stay."""
    wanted: Define = command.body
    current = work.book.get(command.tenant, wanted.kind, wanted.name)
    if current is None:
        return not_found(wanted.kind.value.replace("_", " "), wanted.name)
    stale = _stale(wanted, current)
    if stale is not None:
        return stale
    work.define(_deleted(current, command.by, now))
    return Answer(204)


def apply(work: RuleWork, command: Command, now: datetime) -> Result:
    """Many definitions in one transaction."""
    result, rows = plan(work.book, command.tenant, command.by, command.body, now)
    if rows:
        work.define(*rows)
    return json_answer(result)


def plan(
    book: Book, tenant: str, by: str, wanted: Apply, now: datetime
) -> tuple[dict[str, list[str]], list[Definition]]:
    """What applying would create, change, delete, leave; and the rows of it."""
    result: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": [], "deleted": []}
    rows: list[Definition] = []
    for each in wanted.changes:
        row = _next_version(book, tenant, by, each, now)
        current = book.get(tenant, each.kind, each.name)
        what = "unchanged" if row is None else "created" if current is None else "changed"
        result[what].append(f"{each.kind}/{each.name}")
        if row is not None:
            rows.append(row)
    if wanted.prune:
        named = {(each.kind, each.name) for each in wanted.changes}
        for kind in (DefinitionKind.RULE, DefinitionKind.EVENT_TYPE):
            for current in book.named(tenant, kind):
                if (kind, current.name) not in named:
                    result["deleted"].append(f"{kind}/{current.name}")
                    rows.append(_deleted(current, by, now))
    return result, rows


def _next_version(book: Book, tenant: str, by: str, wanted: Define, now: datetime) -> Definition | None:
    """None where it is so already."""
    assert wanted.definition is not None
    last = book.definitions.get((tenant, wanted.kind, wanted.name))
    if last is not None and not last.deleted and definitions.same(last.model, wanted.definition):
        return None
    body = orjson.dumps(definitions.body_of(wanted.definition)).decode()
    version = 1 if last is None else last.version + 1
    return Definition(tenant, wanted.kind, wanted.name, version, body, False, now, by)


def _deleted(current: Definition, by: str, now: datetime) -> Definition:
    return Definition(current.tenant, current.kind, current.name, current.version + 1, current.body, True, now, by)


def _stale(wanted: Define, current: Definition | None) -> Problem | None:
    version = 0 if current is None else current.version
    if wanted.if_match is None or wanted.if_match == version:
        return None
    what = "does not exist" if current is None else f"has version {version}"
    return Problem(412, "Precondition failed", f"{wanted.name} {what}, not {wanted.if_match}. Read it again.")
