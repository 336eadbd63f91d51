"""What a replica keeps in memory: the definitions, compiled, as of one version; and who waits for what.

A `Book` never changes; a batch works with one, and sees its own changes in a new one. `Memory` holds the newest. Each batch asks
the database for the version first, so what is decided is never decided by an older book; only what is dropped unread by its
headers goes by memory, which follows other replicas as soon as their commit is told (see ticker).
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson
import structlog
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.vocabulary import DefinitionKind

from rules_svc import definitions, schemas
from rules_svc.definitions import EventType
from rules_svc.domain.index import RuleIndex
from rules_svc.domain.model import Rule, RuleError

log = structlog.get_logger()

Name = tuple[str, DefinitionKind, str]
"""Tenant, kind, name."""


@dataclass(frozen=True)
class Definition:
    """A definition as it is stored: `body` is JSON, as it was written."""

    tenant: str
    kind: DefinitionKind
    name: str
    version: int
    body: str
    deleted: bool
    at: datetime
    by: str

    @property
    def key(self) -> Name:
        return (self.tenant, self.kind, self.name)

    @cached_property
    def model(self) -> RuleDefinition | EventTypeDefinition:
        kind = RuleDefinition if self.kind is DefinitionKind.RULE else EventTypeDefinition
        return kind.model_validate_json(self.body)

    @cached_property
    def compiled(self) -> Rule | EventType:
        """Raises RuleError, SchemaError or ValidationError where it can't be used any more."""
        model = self.model
        if isinstance(model, RuleDefinition):
            return definitions.rule_of(self.tenant, self.name, self.version, model)
        return definitions.event_type_of(model)

    def shown(self) -> dict[str, Any]:
        """For clients: as written, with the defaults that matter."""
        body = orjson.loads(self.body)
        if self.kind is DefinitionKind.RULE:
            shown = {"name": self.name, "version": self.version, "when": "true", "parameters": {}, "order": 0}
            shown |= {"stop": False, "enabled": True}
        else:
            shown = {"type": self.name, "version": self.version}
        return {**shown, **body, "updated_at": self.at.isoformat(), "updated_by": self.by}


@dataclass(frozen=True)
class Book:
    """All definitions of all tenants at one version; a deleted one stays, so that its versions go on."""

    version: int = 0
    definitions: Mapping[Name, Definition] = field(default_factory=dict)

    def changed(self, rows: Iterable[Definition], version: int) -> "Book":
        return replace(self, version=version, definitions={**self.definitions, **{row.key: row for row in rows}})

    def get(self, tenant: str, kind: DefinitionKind, name: str) -> Definition | None:
        """The definition, unless it was deleted."""
        found = self.definitions.get((tenant, kind, name))
        return None if found is None or found.deleted else found

    def named(self, tenant: str, kind: DefinitionKind) -> list[Definition]:
        """All of a kind, by name."""
        found = (d for (t, k, _), d in self.definitions.items() if t == tenant and k is kind and not d.deleted)
        return sorted(found, key=lambda definition: definition.name)

    @cached_property
    def index(self) -> RuleIndex:
        """Of the rules that are enabled."""
        return RuleIndex(rule for definition in self.definitions.values() if (rule := _rule(definition)) is not None)

    def event_type(self, tenant: str, type: str) -> EventType | None:
        definition = self.get(tenant, DefinitionKind.EVENT_TYPE, type)
        compiled = None if definition is None else _usable(definition)
        return compiled if isinstance(compiled, EventType) else None


def _rule(definition: Definition) -> Rule | None:
    if definition.deleted or definition.kind is not DefinitionKind.RULE:
        return None
    compiled = _usable(definition)
    enabled = isinstance(definition.model, RuleDefinition) and definition.model.enabled
    return compiled if isinstance(compiled, Rule) and enabled else None


def _usable(definition: Definition) -> Rule | EventType | None:
    """What was accepted once and can't be compiled any more is left out, and said (`kernel fsck` names it)."""
    try:
        return definition.compiled
    except (RuleError, schemas.SchemaError, ValueError) as error:
        log.error(
            "rules.unusable", kind=definition.kind, name=definition.name, tenant=definition.tenant, error=str(error)
        )
        return None


class Memory:
    """The newest book that this replica knows, which processes wait, and which of the kernel's own events they wait for.

    Until it was `loaded` for the first time, everything is wanted and everybody may wait: nothing is dropped unknown.
    """

    def __init__(self) -> None:
        self.book = Book()
        self.waiting: set[int] = set()
        self.arriving: set[int] = set()
        """Read from Kafka as waiting, not saved yet: what comes behind in the same batch is about them too."""
        self.awaited: set[tuple[str, str]] = set()
        self.loaded = False
        self.further = asyncio.Event()
        """Something has not reached everybody yet."""

    def learn(self, book: Book) -> None:
        if book.version > self.book.version:
            self.book = book

    def wants(self, tenant: str, type: str) -> bool:
        """Whether an event of this type can matter to a rule or to somebody who waits."""
        if not self.loaded:
            return True
        return bool(self.book.index.for_type(tenant, type)) or (tenant, type) in self.awaited

    def may_wait(self, pid: int | None) -> bool:
        """Whether this process may be waiting for an event."""
        return not self.loaded or pid in self.waiting or pid in self.arriving
