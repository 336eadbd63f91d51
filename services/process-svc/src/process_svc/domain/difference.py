"""The difference of two JSON values as a JSON patch (RFC 6902)."""

from typing import Any


def difference(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """Operations that make `after` of `before`, one after the other.

    Of two lists what they begin and end with alike is left alone and the rest is compared place by place; where that takes more
    operations than half the elements of the longer one, the list is replaced.
    """
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
    if isinstance(before, list) and isinstance(after, list):
        found = _of_lists(before, after, path)
        if len(found) <= max(1, max(len(before), len(after)) // 2):
            return found
    return [{"op": "replace", "path": path, "value": after}]


def _of_lists(before: list[Any], after: list[Any], path: str) -> list[dict[str, Any]]:
    shorter = min(len(before), len(after))
    start = next((n for n in range(shorter) if not _same(before[n], after[n])), shorter)
    end = next((n for n in range(shorter - start) if not _same(before[-1 - n], after[-1 - n])), shorter - start)
    left, right = before[start : len(before) - end], after[start : len(after) - end]
    both = min(len(left), len(right))
    found = []
    for n in range(both):
        found += difference(left[n], right[n], f"{path}/{start + n}")
    found += [{"op": "remove", "path": f"{path}/{start + n}"} for n in reversed(range(both, len(left)))]
    return found + [{"op": "add", "path": f"{path}/{start + n}", "value": right[n]} for n in range(both, len(right))]


def _same(before: Any, after: Any) -> bool:
    """Equal as JSON: `0`, `0.0` and `false` are three values, wherever they stand."""
    if type(before) is not type(after):
        return False
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same(value, after[name]) for name, value in before.items())
    return bool(before == after)
