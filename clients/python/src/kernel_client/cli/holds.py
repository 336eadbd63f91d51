"""Legal holds by hand: `kernel hold add`, `kernel hold release`, `kernel hold list`."""

import json
from typing import Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, print_json, print_table, run, stop
from kernel_client.local import connect

app = typer.Typer(help="Legal holds: what must be kept however old it is.", no_args_is_help=True)


@app.command()
def add(
    reason: Annotated[str, typer.Argument(help="Why it must be kept.")],
    pid: Annotated[int | None, typer.Option(help="One process.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="NAME=VALUE, as a list filters: service=check, entity_id=7.")
    ] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Keep the history of a process, or of all that the filters find."""
    filters: dict[str, Any] = {}
    for each in where or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            stop(f"--where takes NAME=VALUE, not {each!r}", 2)
        filters.setdefault(name, []).append(value)
    if (pid is None) == (not filters):
        stop("say either --pid or --where", 2)

    async def work() -> dict[str, Any]:
        async with connect(url, token) as kernel:
            return await kernel.hold(reason, pid=pid, **filters)

    print(run(work())["id"])


@app.command()
def release(id: Annotated[int, typer.Argument()], url: Url = None, token: Token = None) -> None:
    """Let go of a hold; it stays on record."""

    async def work() -> dict[str, Any]:
        async with connect(url, token) as kernel:
            return await kernel.release_hold(id)

    print(f"hold {run(work())['id']} is released")


@app.command("list")
def listed(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Those that were released too.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """What is held, since when, by whom and why."""

    async def work() -> list[dict[str, Any]]:
        async with connect(url, token) as kernel:
            return [each async for each in kernel.holds(active=None if everything else True)]

    found = run(work())
    if as_json:
        print_json(found)
        return
    rows = [
        [
            each["id"],
            each["pid"] or json.dumps(each["filter"]),
            each["by"],
            each["at"],
            each["released_at"],
            each["reason"],
        ]
        for each in found
    ]
    print_table(["hold>", "of", "by", "since", "released", "reason"], rows)
