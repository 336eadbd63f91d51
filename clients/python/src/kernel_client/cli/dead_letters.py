"""Messages that were given up on: look at them, replay them (edited or as they were), discard them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, print_json, print_table, run, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from kernel_client.types import DeadLetter

app = typer.Typer(help="Messages that were given up on.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="As `kernel dlq list` shows it, such as process-svc:12.")]


async def _all(url: str | None, token: str | None, state: str | None, limit: int) -> "list[DeadLetter]":
    found: list[DeadLetter] = []
    async with connect(url, token) as kernel:
        async for letter in kernel.dead_letters(state=state):
            if len(found) >= limit:
                break
            found.append(letter)
    return found


@app.command("list")
def listed(
    state: Annotated[str | None, typer.Option(help="dead, parked, replayed, discarded. [dead,parked]")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """What waits for somebody, newest first."""
    found = run(_all(url, token, state, limit))
    if as_json:
        print_json(found)
        return
    rows = [
        [each["id"], each["state"], each["topic"], each["key"], each["headers"].get("ce_type"), each["reason"]]
        for each in found
    ]
    print_table(["id", "state", "topic", "key", "type", "reason"], rows)


@app.command()
def show(id: Id, url: Url = None, token: Token = None) -> None:
    """One of them, whole."""
    found = run(_all(url, token, "dead,parked,replayed,discarded", 10_000))
    print_json(next((each for each in found if each["id"] == id), None) or stop(f"there is no dead letter {id}"))


@app.command()
def replay(
    id: Id,
    value: Annotated[str | None, typer.Option(help="The edited body, or - for standard input.")] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Publish it again, and then what was parked behind it."""
    import sys

    _settle(id, "replay", sys.stdin.read() if value == "-" else value, url, token)


@app.command()
def discard(id: Id, url: Url = None, token: Token = None) -> None:
    """Give it up for good, and let go what was parked behind it."""
    _settle(id, "discard", None, url, token)


def _settle(id: str, action: str, value: str | None, url: str | None, token: str | None) -> None:
    async def work() -> dict[str, Any]:
        async with connect(url, token) as kernel:
            return await kernel.settle_dead_letter(id, action, value)

    settled = run(work())
    print(f"{settled['id']} {settled['state']}")
