"""A JSON Schema for each message type, generated from its model and committed: `python -m kernel_contracts.schemas`.

What is committed is what other systems are built against; `--check` says which files are not what the models say now.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kernel_contracts.base import Command
from kernel_contracts.topics import TOPICS

FOLDER = Path(__file__).parents[2] / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def models() -> dict[str, type[BaseModel]]:
    """The model of each message type that a topic carries, by type."""
    found: dict[str, type[BaseModel]] = {}
    for topic in TOPICS:
        for kind, model in topic.messages.items():
            if found.setdefault(kind, model) is not model:
                raise ValueError(f"{kind} has two models: {found[kind].__name__} and {model.__name__}")
    return dict(sorted(found.items()))


def is_command(model: type[BaseModel], kind: str) -> bool:
    """Asked of us rather than told by us: by its base, or because a topic of commands carries it."""
    return issubclass(model, Command) or any(
        kind in each.messages for each in TOPICS if each.name.endswith("-commands")
    )


def schema(kind: str, model: type[BaseModel]) -> dict[str, Any]:
    """What a body of this type must look like for its reader. `x-kernel-kind` is command or event."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:{kind}",
        "x-kernel-kind": "command" if is_command(model, kind) else "event",
        "x-kernel-topics": [topic.name for topic in TOPICS if kind in topic.messages],
        **model.model_json_schema(by_alias=True, mode="validation"),
    }


def files() -> dict[str, str]:
    """File name -> content."""
    return {
        f"{kind}.json": json.dumps(schema(kind, model), indent=2, ensure_ascii=False) + "\n"
        for kind, model in models().items()
    }


def differences(folder: Path) -> list[str]:
    """Each file that is missing, stale or left over, in words."""
    wanted = files()
    there = {path.name: path.read_text() for path in folder.glob("*.json")}
    return [
        *(f"{name} is missing" for name in wanted if name not in there),
        *(f"{name} is not what the model says now" for name in wanted if there.get(name, wanted[name]) != wanted[name]),
        *(f"{name} belongs to no message type" for name in sorted(there.keys() - wanted.keys())),
    ]


def write(folder: Path, content: Mapping[str, str]) -> None:
    """Makes the folder hold exactly this."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name not in content:
            path.unlink()
    for name, text in content.items():
        (folder / name).write_text(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kernel_contracts.schemas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a file is not up to date")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    told = parser.parse_args(arguments)
    if told.check:
        found = differences(told.folder)
        for line in found:
            print(line, file=sys.stderr)
        if found:
            print("run `python -m kernel_contracts.schemas` and commit what it writes", file=sys.stderr)
        return 1 if found else 0
    write(told.folder, files())
    print(f"{len(files())} schemas in {told.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
