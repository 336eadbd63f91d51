"""The difference of two JSON values as a JSON patch (RFC 6902)."""

from typing import Any


def difference(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """Operations that make `after` of `before`. Lists are compared as wholes."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[dict[str, Any]] = []
        for name in sorted(before.keys() | after.keys()):
            where = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in after:
                found.append({"op": "remove", "path": where})
            elif name not in before:
                found.append({"op": "add", "path": where, "value": after[name]})
            else:
                found += difference(before[name], after[name], where)
        return found
    if type(before) is type(after) and before == after:
        return []
    return [{"op": "replace", "path": path, "value": after}]
