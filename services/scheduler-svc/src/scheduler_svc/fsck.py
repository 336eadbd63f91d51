"""The scheduler's own invariants, checked on its tables. What concerns other services too is checked from outside."""

from collections.abc import Mapping
from typing import Any, Final

from kernel_runtime.database import Connection

from scheduler_svc.store.fsck import CHECKS

EXAMPLES: Final = 5


async def check(connection: Connection, stale_after: float) -> list[Mapping[str, Any]]:
    """Each check with the number of its breaches and a few of them."""
    results: list[Mapping[str, Any]] = []
    for name, sql in CHECKS.items():
        arguments = (stale_after,) if "$1" in sql else ()
        row = await connection.fetchrow(
            f"WITH breach AS ({sql}) SELECT (SELECT count(*) FROM breach) AS breaches,"
            f" ARRAY(SELECT what FROM breach ORDER BY what LIMIT {EXAMPLES}) AS examples",
            *arguments,
        )
        assert row is not None
        results.append({"name": name, "breaches": row["breaches"], "examples": row["examples"]})
    return results
