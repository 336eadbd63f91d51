"""The invariants of resource-svc, checked on its running database: each check is a query whose rows are breaches."""

from collections.abc import Mapping
from typing import Any

from kernel_runtime.database import Connection

EXAMPLES = 5

CHECKS: Mapping[str, str] = {
    "resource use equals what is allocated": """
        SELECT r.tenant, r.id, r.used, coalesce(a.units, 0) AS allocated FROM resource r LEFT JOIN (
            SELECT resource, sum(units)::bigint AS units FROM allocation WHERE released_version IS NULL GROUP BY resource
        ) a ON a.resource = r.number
        WHERE r.used <> coalesce(a.units, 0)""",
    "never over capacity, no stock below zero": """
        SELECT tenant, id, used, capacity FROM resource WHERE used < 0 OR used > capacity""",
    "never over capacity at any instant": """
        WITH change AS (
            SELECT resource, version, units FROM allocation
            UNION ALL
            SELECT resource, released_version, -units FROM allocation WHERE released_version IS NOT NULL
            UNION ALL
            SELECT resource, version, 0 FROM resource_change),
        running AS (
            SELECT resource, version, sum(units) OVER (PARTITION BY resource ORDER BY version)::bigint AS used FROM change),
        limited AS (
            SELECT running.*, coalesce(c.capacity, r.capacity) AS capacity, r.tenant, r.id
            FROM running JOIN resource r ON r.number = running.resource
            LEFT JOIN LATERAL (
                SELECT capacity FROM resource_change c
                WHERE c.resource = running.resource AND c.version <= running.version ORDER BY c.version DESC LIMIT 1
            ) c ON true)
        SELECT tenant, id, version, used, capacity FROM limited WHERE used > capacity OR used < 0""",
    "each version of a resource is accounted for": """
        SELECT r.tenant, r.id, r.version, coalesce(v.n, 0) AS found, v.most FROM resource r LEFT JOIN (
            SELECT resource, count(*) AS n, count(DISTINCT version) AS different, max(version) AS most FROM (
                SELECT resource, version FROM allocation
                UNION ALL
                SELECT resource, released_version FROM allocation WHERE released_version IS NOT NULL
                UNION ALL
                SELECT resource, version FROM resource_change) each GROUP BY resource
        ) v ON v.resource = r.number
        WHERE coalesce(v.n, 0) <> r.version OR v.n <> v.different OR v.most <> r.version""",
    "no demand of a dispatch has units twice": """
        SELECT dispatch_id, demand, count(*) AS allocations FROM allocation WHERE demand >= 0
        GROUP BY dispatch_id, demand HAVING count(*) > 1""",
    "a dispatch holds what it was granted": """
        SELECT d.dispatch_id, d.pid, d.outcome, d.allocations, coalesce(a.n, 0) AS found FROM dispatch d LEFT JOIN (
            SELECT dispatch_id, count(*) FILTER (WHERE demand >= 0) AS n, min(pid) AS pid, max(pid) AS last
            FROM allocation GROUP BY dispatch_id
        ) a USING (dispatch_id)
        WHERE (d.outcome <> 'granted' AND a.n IS NOT NULL)
        OR a.pid <> d.pid OR a.last <> d.pid OR coalesce(a.n, 0) > d.allocations
        OR (d.outcome = 'granted' AND coalesce(a.n, 0) < d.allocations
            AND NOT EXISTS (SELECT FROM allocation moved WHERE moved.pid = d.pid AND moved.demand < 0))""",
    "each allocation has its dispatch and its resource": """
        SELECT a.dispatch_id, a.resource, a.version, a.pid FROM allocation a
        WHERE NOT EXISTS (SELECT FROM dispatch d WHERE d.dispatch_id = a.dispatch_id)
        OR NOT EXISTS (SELECT FROM resource r WHERE r.number = a.resource)""",
    "allocations end after they begin": """
        SELECT resource, version, dispatch_id, granted_at, released_at FROM allocation
        WHERE released_at < granted_at OR released_version <= version
        OR (released_at IS NULL AND released_version IS NOT NULL)""",
    "what is deleted holds nobody": """
        SELECT r.tenant, r.id, a.pid FROM resource r JOIN allocation a ON a.resource = r.number AND a.released_at IS NULL
        WHERE r.deleted""",
}


async def check(connection: Connection) -> list[dict[str, Any]]:
    """Name, number of breaches and a few of them for each check; all on one snapshot."""
    results = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for name, query in CHECKS.items():
            rows = await connection.fetch(
                f"WITH breach AS ({query}) SELECT *, count(*) OVER () AS breaches_in_all FROM breach LIMIT {EXAMPLES}"
            )
            results.append(
                {
                    "name": name,
                    "breaches": rows[0]["breaches_in_all"] if rows else 0,
                    "examples": [
                        {column: value for column, value in row.items() if column != "breaches_in_all"} for row in rows
                    ],
                }
            )
    return results
