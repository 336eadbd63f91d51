"""What must never be found in the tables: each query gives one row `what` for each breach."""

from collections.abc import Mapping
from typing import Final

CHECKS: Final[Mapping[str, str]] = {
    "scheduler: a proposed item knows its dispatch": """
        SELECT format('pid %s', pid) AS what FROM ready_item WHERE state = 'proposed'
        AND (dispatch_id IS NULL OR proposed_at IS NULL
             OR dispatch_id <> format('%s.%s.%s', pid, version, attempt)
             OR json_array_length(candidates::json) <> json_array_length(demands::json))
    """,
    "scheduler: a proposal is answered": """
        SELECT format('pid %s, dispatch %s since %s', pid, dispatch_id, proposed_at) AS what FROM ready_item
        WHERE state = 'proposed' AND proposed_at < clock_timestamp() - make_interval(secs => $1)
    """,
    "scheduler: an item in line has no dispatch": """
        SELECT format('pid %s, dispatch %s', pid, dispatch_id) AS what FROM ready_item
        WHERE state = 'ready' AND (dispatch_id IS NOT NULL OR proposed_at IS NOT NULL)
    """,
    "scheduler: a denied item is tried again": """
        SELECT format('pid %s, due %s', pid, retry_at) AS what FROM ready_item
        WHERE state = 'ready' AND retry_at < clock_timestamp() - make_interval(secs => $1)
    """,
    "scheduler: versions do not run backwards": """
        SELECT format('pid %s', pid) AS what FROM ready_item WHERE version > latest OR version < 0 OR attempt < 0
    """,
    "scheduler: who holds something is kept for it": """
        SELECT format('pid %s', pid) AS what FROM ready_item WHERE state = 'holding' AND held = '{}'
    """,
    "scheduler: usage of copies is within what can be": """
        SELECT format('%s %s: %s of %s used', tenant, id, used, capacity) AS what FROM resource_copy
        WHERE used < 0 OR capacity < 0 OR defined > version OR version < 1
    """,
}
