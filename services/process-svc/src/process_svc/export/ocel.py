"""OCEL 2.0 as JSON: processes, entities and operators as objects, each row of the journal an event.

Events come first in the stream, then the objects, and last the types of both: by then they are known.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from process_svc.domain.eventlog import Event

MEDIA: Final = "application/json"
_EVENT: Final = {
    "transition": "string",
    "state": "string",
    "outcome": "string",
    "version": "integer",
    "by": "string",
    "reason": "string",
}
_PROCESS: Final = {"service": "string", "service_version": "integer", "priority": "integer", "key": "string"}
OURS: Final = ("process", "operator")
"""Types of objects; an entity whose type has one of these names is told with `entity ` before it."""


class Ocel:
    def __init__(self) -> None:
        self._some = False
        self._event_types: set[str] = set()
        self._object_types: set[str] = set()
        self._operators: set[str] = set()

    def head(self) -> str:
        return '{"events":['

    def events(self, some: Sequence[Event]) -> str:
        return self._listed(self._event(each) for each in some)

    def _event(self, each: Event) -> dict[str, Any]:
        row = each.row
        kind = f"{row['service']} {row['command']}"
        self._event_types.add(kind)
        related = [("process", process_id(row["pid"]))]
        related += _entities(row, "entity")
        if row["operator"] is not None:
            self._operators.add(row["operator"])
            related.append(("operator", operator_id(row["operator"])))
        return {
            "id": f"{row['pid']}.{row['version']}",
            "type": kind,
            "time": each.at,
            "attributes": [
                {"name": name, "value": value}
                for name in _EVENT
                if (value := each.transition if name == "transition" else row[name]) is not None
            ],
            "relationships": [{"objectId": id, "qualifier": qualifier} for qualifier, id in related],
        }

    def objects(self) -> str:
        """Between events and objects."""
        self._some = False
        return '],"objects":['

    def processes(self, some: Iterable[Mapping[str, Any]]) -> str:
        return self._listed(_process(row) for row in some)

    def entities(self, some: Iterable[tuple[str, str]]) -> str:
        found = []
        for kind, id in some:
            self._object_types.add(entity_type(kind))
            found.append({"id": entity_id(kind, id), "type": entity_type(kind), "attributes": [], "relationships": []})
        return self._listed(found)

    def tail(self) -> str:
        operators = self._listed(
            {"id": operator_id(name), "type": "operator", "attributes": [], "relationships": []}
            for name in sorted(self._operators)
        )
        objects = [
            {"name": "process", "attributes": _attributes(_PROCESS)},
            *({"name": name, "attributes": []} for name in ("operator", *sorted(self._object_types))),
        ]
        events = [{"name": name, "attributes": _attributes(_EVENT)} for name in sorted(self._event_types)]
        return f'{operators}],"objectTypes":{orjson.dumps(objects).decode()},"eventTypes":{orjson.dumps(events).decode()}}}'

    def _listed(self, some: Iterable[Mapping[str, Any]]) -> str:
        text = ",\n".join(orjson.dumps(each, option=orjson.OPT_UTC_Z).decode() for each in some)
        before, self._some = (",\n" if self._some and text else ""), self._some or bool(text)
        return before + text


def _process(row: Mapping[str, Any]) -> dict[str, Any]:
    related = [{"objectId": id, "qualifier": qualifier} for qualifier, id in _entities(row, "works on")]
    if row["parent"] is not None:
        related.append({"objectId": process_id(row["parent"]), "qualifier": "child of"})
    return {
        "id": process_id(row["pid"]),
        "type": "process",
        "attributes": [
            {"name": name, "time": row["created_at"], "value": row[name]} for name in _PROCESS if row[name] is not None
        ],
        "relationships": related,
    }


def _attributes(types: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in types.items()]


def process_id(pid: int) -> str:
    return f"process:{pid}"


def operator_id(name: str) -> str:
    return f"operator:{name}"


def entity_type(kind: str) -> str:
    return f"entity {kind}" if kind in OURS else kind


def entity_id(kind: str, id: str) -> str:
    return f"{entity_type(kind)}:{id}"


def _entities(row: Mapping[str, Any], qualifier: str) -> list[tuple[str, str]]:
    """(qualifier, id) of each: the subject by `qualifier`, further ones by their roles."""
    found = [] if row["entity_type"] is None else [(qualifier, entity_id(row["entity_type"], row["entity_id"]))]
    if row["entities"] is not None:
        found += [(each[2], entity_id(each[0], each[1])) for each in orjson.loads(row["entities"])]
    return found
