"""`GET /v1/fsck`: what must hold in this service's own tables, each check with the breaches that it found."""

from typing import Any

from kernel_runtime.database import Connection
from kernel_runtime.problem import ProblemError
from pydantic import ValidationError

from rules_svc.book import Book
from rules_svc.domain.model import RuleError
from rules_svc.schemas import SchemaError
from rules_svc.store.batch import read_book

_CHECKS = {
    "every definition is the last entry of its journal": """
        SELECT tenant || '/' || kind || '/' || name AS what FROM definition d WHERE NOT EXISTS (
            SELECT FROM journal j WHERE (j.tenant, j.kind, j.name, j.version, j.body, j.deleted)
                = (d.tenant, d.kind, d.name, d.version, d.body, d.deleted))
        UNION ALL
        SELECT j.tenant || '/' || j.kind || '/' || j.name FROM journal j LEFT JOIN definition d USING (tenant, kind, name)
        GROUP BY j.tenant, j.kind, j.name, d.version HAVING max(j.version) IS DISTINCT FROM d.version""",
    "versions of definitions have no gap": """
        SELECT tenant || '/' || kind || '/' || name AS what FROM journal GROUP BY tenant, kind, name
        HAVING min(version) <> 1 OR max(version) <> count(*)""",
    "the rulebook is as new as its newest definition": """
        SELECT 'rulebook ' || version AS what FROM rulebook
        WHERE version IS DISTINCT FROM (SELECT coalesce(max(changed), 0) FROM definition)""",
    "every firing belongs to an event that counts it": """
        SELECT 'firing ' || f.id AS what FROM firing f WHERE NOT EXISTS (
            SELECT FROM event e WHERE e.key = f.event_key
                AND f.rule = ANY (CASE f.result WHEN 'fired' THEN e.fired WHEN 'failed' THEN e.failed ELSE e.stopped END))""",
    "a stopped or failed firing has sent nothing": """
        SELECT 'firing ' || id AS what FROM firing WHERE result <> 'fired' AND instructions <> '[]'""",
    "a firing was made by a version of its rule that there is": """
        SELECT 'firing ' || f.id AS what FROM firing f WHERE NOT EXISTS (
            SELECT FROM journal j WHERE (j.tenant, j.kind, j.name, j.version) = (f.tenant, 'rule', f.rule, f.rule_version)
                AND NOT j.deleted)""",
    "a refused event has had no effect": """
        SELECT source || ' ' || id AS what FROM event
        WHERE refused IS NOT NULL AND cardinality(fired || failed || stopped) + cardinality(correlated) > 0""",
    "no kept event is what somebody waits for": """
        SELECT 'process ' || w.pid AS what FROM wait w WHERE w.wake IS NULL AND EXISTS (
            SELECT FROM event e WHERE e.tenant = w.tenant AND e.type = w.type AND e.until > clock_timestamp() AND NOT e.taken
                AND CASE WHEN w.key IS NULL THEN e.at >= w.since ELSE e.correlation = w.key END
                AND w.pid <> ALL (e.correlated) AND NOT EXISTS (SELECT FROM spread WHERE spread.event = e.key))""",
    "an event whose time has passed is marked": """
        SELECT source || ' ' || id AS what FROM event WHERE until < clock_timestamp() - interval '30 s'
            OR expired AND (until IS NOT NULL OR correlated <> '{}')""",
    "an event for one meets one": """
        SELECT source || ' ' || id AS what FROM event WHERE meets = 'one' AND cardinality(correlated) > 1""",
    "what was to go on has gone on": """
        SELECT 'spread ' || id AS what FROM spread WHERE at < clock_timestamp() - interval '30 s'""",
}


async def checks(connection: Connection) -> dict[str, Any]:
    """All of them, counted, with up to five examples each."""
    found = [await _check(connection, name, query) for name, query in _CHECKS.items()]
    unusable = _unusable(await read_book(connection, Book()))
    found.append({"name": "every definition compiles", "breaches": len(unusable), "examples": unusable[:5]})
    return {"checks": found}


async def _check(connection: Connection, name: str, query: str) -> dict[str, Any]:
    rows = await connection.fetch(
        f"WITH found AS ({query}) SELECT what, (SELECT count(*) FROM found) AS total FROM found ORDER BY what LIMIT 5"
    )
    return {"name": name, "breaches": rows[0]["total"] if rows else 0, "examples": [row["what"] for row in rows]}


def _unusable(book: Book) -> list[str]:
    found = []
    for definition in book.definitions.values():
        if definition.deleted:
            continue
        try:
            assert definition.compiled is not None
        except (RuleError, SchemaError, ValidationError, ProblemError) as error:
            found.append(f"{definition.tenant}/{definition.kind}/{definition.name}: {error}"[:300])
    return sorted(found)
