"""Reading YAML as YAML 1.2 means it: `17:00` and `2026-12-24` are text, `no` is text, a key given twice is a mistake."""

import re
from typing import Any

import yaml

MAX_NODES = 500_000
MAX_TEXT = 16 * 1024 * 1024
MAX_DEPTH = 64


class YamlError(ValueError):
    """The text is not YAML that we read; the message says where."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def read_yaml(raw: bytes) -> Any:
    """The value; raises YamlError. Aliases are followed, but what they blow up to is bounded."""
    try:
        value = yaml.load(raw, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise YamlError(f"{error.problem or error.context}{where}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    _bounded(value)
    return value


def _bounded(value: Any) -> None:
    nodes = text = 0
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        following: list[Any] = []
        for item in level:
            children = (
                [*item.keys(), *item.values()] if isinstance(item, dict) else item if isinstance(item, list) else ()
            )
            nodes += len(children)
            text += len(item) if isinstance(item, str) else 0
            if nodes > MAX_NODES or text > MAX_TEXT:
                raise YamlError("the document is too large once its aliases are followed")
            following.extend(children)
        if not following:
            return
        level = following
    raise YamlError(f"the document nests deeper than {MAX_DEPTH} levels")
