"""Query parameters that many lists share."""

from gateway.operation import Query

_COUNT = {"type": "boolean", "default": False}
TIME = {"type": "string", "format": "date-time"}
INTEGER = {"type": "integer", "minimum": 1}

LIMIT = Query("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50})
CURSOR = Query("cursor", "The `next` of the part before.")
COUNT = Query("count", "Whether to add `total`.", _COUNT)
PAGE = (LIMIT, CURSOR, COUNT)
DRY_RUN = Query("dry_run", "Say what would happen and do nothing.", {"type": "boolean", "default": False})
