"""The design as code: apply a file, or all files of a folder as one design."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, print_json, run, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from kernel_client.types import Applied

SUFFIXES = (".yaml", ".yml", ".json")
SIGNS = {"created": "+", "changed": "~", "unchanged": " "}


def add_to(app: typer.Typer) -> None:
    app.command()(apply)


def apply(
    file: Annotated[Path, typer.Option("-f", "--file", help="A YAML or JSON file, or a folder of them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Apply a design, all of it or nothing, and show what it changes."""
    content = read(file)

    async def work() -> "Applied":
        async with connect(url, token) as kernel:
            return await kernel.apply(content, dry_run=dry_run)

    applied = run(work())
    if as_json:
        print_json(applied)
        return
    for kind in ("created", "changed"):
        for item in sorted(applied[kind]):
            print(f"{SIGNS[kind]} {item}")
    counts = ", ".join(f"{len(applied[kind])} {kind}" for kind in SIGNS)  # type: ignore[literal-required]
    print(f"{counts}{' (dry run: nothing was done)' if dry_run else ''}")


def read(path: Path) -> str | dict[str, Any]:
    """The text of one file, or the sections of all files of a folder put together."""
    try:
        if path.is_file():
            return path.read_text()
        if not path.is_dir():
            stop(f"there is no {path}", 2)
        files = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
        if not files:
            stop(f"{path} has no file ending in {', '.join(SUFFIXES)}", 2)
        return _together([(each, _parse(each)) for each in files])
    except (OSError, UnicodeDecodeError) as error:
        stop(f"{path} can't be read: {error}", 2)


def _parse(path: Path) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        stop(f"{path} is not YAML: {' '.join(str(error).split())}", 2)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(section, dict | None) for section in value.values()):
        stop(f"{path} must be a map of sections (services, operators, rules, ...), each a map by name", 2)
    return value


def _together(parts: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    design: dict[str, dict[str, Any]] = {}
    for path, part in parts:
        for section, content in part.items():
            target = design.setdefault(section, {})
            for name, definition in (content or {}).items():
                if name in target:
                    stop(f"{path} defines {section}/{name}, which another file of the folder has too", 2)
                target[name] = definition
    return design
