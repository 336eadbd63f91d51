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
    if _same(before, after):
        return []
    return [{"op": "replace", "path": path, "value": after}]


def _same(before: Any, after: Any) -> bool:
    """Equal as JSON: `0`, `0.0` and `false` are three values, wherever they stand."""
    if type(before) is not type(after):
        return False
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same(value, after[name]) for name, value in before.items())
    return bool(before == after)
