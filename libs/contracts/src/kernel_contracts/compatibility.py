"""Whether the message types still keep what was promised: `python -m kernel_contracts.compatibility [--against REF]`.

Compares the schemas of the models with those of a git ref, or of a folder. Under the same version of a type a new reader must
take everything that an old sender may send, and an old reader must find everything that it may read. Breaking are: a type or a
field removed (a rename is that), a field required that was not, a value no longer taken (type, enum, limits, pattern), and in an
event a field that was always there and now may be missing. What breaks gets a new type: `.v2`.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kernel_contracts.schemas import FOLDER, models, schema

Schema = Mapping[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def breaches(old: Schema, new: Schema) -> list[str]:
    """What in `new` breaks the promise of `old`, one line each; both are whole documents of one message type."""
    event = new.get("x-kernel-kind") == "event"
    return list(dict.fromkeys(_Comparison(old, new, event).narrowed(old, new, "")))


class _Comparison:
    def __init__(self, old: Schema, new: Schema, event: bool) -> None:
        self._old = old.get("$defs", {})
        self._new = new.get("$defs", {})
        self._event = event
        self._under_way: set[tuple[str, str]] = set()

    def narrowed(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        """What `old` takes and `new` does not, or promises and `new` does not."""
        pair = (str(old.get("$ref")), str(new.get("$ref")))
        if "$ref" in old and "$ref" in new:
            if pair in self._under_way:
                return
            self._under_way.add(pair)
        wide = list(_alternatives(new, self._new))
        for one in _alternatives(old, self._old):
            tries = [list(self._narrowed(one, other, at)) for other in wide]
            if not all(tries):
                continue
            near = [
                found
                for found, other in zip(tries, wide, strict=True)
                if len(wide) == 1 or _types(other) & _types(one) - {"null"}
            ]
            yield from min(near or [[f"{at or '/'}: {_describe(one)} is no longer taken"]], key=len)
        self._under_way.discard(pair)

    def _narrowed(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        here = at or "/"
        if _takes_all(new):
            return
        values, taken = _values(old), _values(new)
        if taken is not None:
            if values is None:
                yield f"{here}: {_describe(old)} is no longer taken, only {_listed(taken)}"
            elif gone := [value for value in values if value not in taken]:
                yield f"{here}: {_listed(gone)} is no longer taken"
            return
        types, wide = _types(old), _types(new)
        if not types <= wide:
            yield f"{here}: the type was {_named(types)} and is {_named(wide)}"
            return
        yield from self._limits(old, new, here)
        if "object" in types:
            yield from self._objects(old, new, at)
        if "array" in types and "items" in new:
            yield from self.narrowed(old.get("items", {}), new["items"], f"{at}/*")

    def _limits(self, old: Schema, new: Schema, here: str) -> Iterator[str]:
        for name in (*_LOWER, *_UPPER):
            if name not in new:
                continue
            before, now = old.get(name), new[name]
            tighter = before is None or (now > before if name in _LOWER else now < before)
            if tighter and not (name in ("minLength", "minItems", "minProperties") and now == 0):
                yield f"{here}: {name} was {'not set' if before is None else before} and is {now}"
        for name in ("pattern", "format", "multipleOf"):
            if name in new and new[name] != old.get(name):
                yield f"{here}: {name} was {old.get(name, 'not set')} and is {new[name]}"

    def _objects(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        before, now = old.get("properties", {}), new.get("properties", {})
        for name in before.keys() - now.keys():
            yield f"{at}/{name}: removed"
        was, required = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(required - was):
            yield f"{at}/{name}: is now required"
        if self._event:
            for name in sorted((was - required) & now.keys()):
                yield f"{at}/{name}: was always there, and now may be missing"
        if old.get("additionalProperties", True) and new.get("additionalProperties", True) is False:
            yield f"{at or '/'}: other fields are no longer taken"
        for name in sorted(before.keys() & now.keys()):
            yield from self.narrowed(before[name], now[name], f"{at}/{name}")
        more, less = old.get("additionalProperties"), new.get("additionalProperties")
        if isinstance(more, dict) and isinstance(less, dict):
            yield from self.narrowed(more, less, f"{at}/*")


def _alternatives(schema: Schema, definitions: Schema) -> Iterator[Schema]:
    """The schemas of which one must fit, references resolved."""
    if "$ref" in schema:
        yield from _alternatives(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
        return
    several = schema.get("anyOf") or schema.get("oneOf")
    if several is None:
        yield schema
        return
    for one in several:
        yield from _alternatives(one, definitions)


def _takes_all(schema: Schema) -> bool:
    return not schema.keys() - {"title", "description", "default", "examples"}


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


_EVERY = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))


def _types(schema: Schema) -> frozenset[str]:
    given = schema.get("type", list(_EVERY))
    types = frozenset([given] if isinstance(given, str) else given)
    return types | {"integer"} if "number" in types else types


def _describe(schema: Schema) -> str:
    values = _values(schema)
    return _listed(values) if values is not None else _named(_types(schema))


def _named(types: frozenset[str]) -> str:
    return "anything" if types == _EVERY else " or ".join(sorted(types))


def _listed(values: list[Any]) -> str:
    return ", ".join(json.dumps(value) for value in values)


def check(old: Mapping[str, Schema]) -> list[str]:
    """Every breach of these schemas (by message type) by the models as they are now."""
    now = {kind: schema(kind, model) for kind, model in models().items()}
    return [
        *(f"{kind}: the message type is removed" for kind in sorted(old.keys() - now.keys())),
        *(f"{kind} {line}" for kind in sorted(old.keys() & now.keys()) for line in breaches(old[kind], now[kind])),
    ]


def from_folder(folder: Path) -> dict[str, Schema]:
    """The schemas that lie there, by message type."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def from_git(ref: str) -> dict[str, Schema]:
    """The schemas as they were committed at `ref`."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=FOLDER, check=True, capture_output=True, text=True).stdout

    names = git("ls-tree", "--name-only", ref, "./").splitlines()
    return {name.removesuffix(".json"): json.loads(git("show", f"{ref}:./{name}")) for name in names}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kernel_contracts.compatibility", description=__doc__)
    parser.add_argument("--against", metavar="REF", help="a git ref, such as origin/main or the last release's tag")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where no ref is given: the committed schemas")
    told = parser.parse_args(arguments)
    found = check(from_git(told.against) if told.against else from_folder(told.folder))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
