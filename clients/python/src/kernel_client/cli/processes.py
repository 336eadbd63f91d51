"""Processes by hand: ps, submit, complete, why."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, print_json, print_table, run, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from kernel_client.types import Process

OPEN = "NEW,READY,RUNNING,WAITING,SUSPENDED"


def add_to(app: typer.Typer) -> None:
    for command in (ps, submit, complete, why):
        app.command()(command)


def ps(
    state: Annotated[str | None, typer.Option(help="One or several by commas: READY,RUNNING.")] = None,
    service: Annotated[str | None, typer.Option()] = None,
    operator: Annotated[str | None, typer.Option()] = None,
    entity: Annotated[str | None, typer.Option(help="TYPE:ID; in whatever role.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows at most.")] = 50,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Those that have ended too.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List processes, newest first: those that have not ended, or with --all every one."""
    kind, colon, id = (entity or "").partition(":")
    if entity is not None and not (kind and colon and id):
        stop(f"--entity takes TYPE:ID, not {entity!r}", 2)
    states = state.upper() if state else None if everything else OPEN

    async def work() -> "tuple[list[Process], bool]":
        found: list[Process] = []
        cursor: str | None = None
        async with connect(url, token) as kernel:
            while len(found) < limit:
                page, cursor = await kernel.processes.page(
                    limit=min(500, limit - len(found)),
                    cursor=cursor,
                    sort="-pid",
                    state=states,
                    service=service,
                    operator=operator,
                    entity_type=kind or None,
                    entity_id=id or None,
                )
                found += page
                if cursor is None:
                    break
        return found, cursor is not None

    found, more = run(work())
    if as_json:
        print_json(found)
        return
    now = datetime.now(UTC)
    rows = [_row(process, now) for process in found]
    print_table(["pid>", "state", "service", "entity", "operator", "pri>", "age>", "wait>", "run>"], rows)
    print(f"{len(found)} processes" + (f"; there are more, --limit {limit * 10} shows them" if more else ""))


def _row(process: "Process", now: datetime) -> list[Any]:
    entity = process["entity"]
    ended = process["ended_at"]
    state = process["state"] if process["outcome"] is None else f"{process['state']} {process['outcome']}"
    return [
        process["pid"],
        state,
        process["service"],
        f"{entity['type']}:{entity['id']}" if entity else None,
        process["operator"],
        process["priority"],
        _between(process["created_at"], None, now),
        _between(process["ready_at"], process["started_at"] or ended, now),
        _between(process["started_at"], ended, now),
    ]


def _between(start: str | None, end: str | None, now: datetime) -> str | None:
    """A span in the largest units that say enough: 3.2s, 4m10s, 5h07m, 2d3h."""
    if start is None:
        return None
    seconds = ((datetime.fromisoformat(end) if end else now) - datetime.fromisoformat(start)).total_seconds()
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"


def _json_object(text: str | None, option: str) -> dict[str, Any]:
    import json
    import sys

    if text is None:
        return {}
    try:
        value = json.loads(sys.stdin.read() if text == "-" else text)
    except json.JSONDecodeError as error:
        stop(f"{option} is not JSON: {error}", 2)
    if not isinstance(value, dict):
        stop(f"{option} must be a JSON object", 2)
    return value


def _entity(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    kind, colon, id = text.partition(":")
    if not kind or not colon or not id:
        stop(f"--entity takes TYPE:ID, not {text!r}", 2)
    return {"type": kind, "id": id}


def submit(
    service: Annotated[str, typer.Argument(help="The service to start.")],
    entity: Annotated[str | None, typer.Option(help="TYPE:ID that it works on.")] = None,
    context: Annotated[str | None, typer.Option(help="JSON object, or - for standard input.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=100)] = None,
    operator: Annotated[str | None, typer.Option(help="Only this one may run it.")] = None,
    key: Annotated[str | None, typer.Option(help="Your own unique key: again gives the same process.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Start a process and print its pid."""
    content, about = _json_object(context, "--context"), _entity(entity)

    async def work() -> "Process":
        async with connect(url, token) as kernel:
            return await kernel.processes.create(
                service, entity=about, context=content, priority=priority, operator=operator, key=key
            )

    process = run(work())
    print_json(process) if as_json else print(process["pid"])


def complete(
    pid: Annotated[int, typer.Argument()],
    output: Annotated[str | None, typer.Option(help="JSON object that fits the form, or - for standard input.")] = None,
    reason: Annotated[str | None, typer.Option()] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Complete a running process."""
    content = _json_object(output, "--output")

    async def work() -> "Process":
        async with connect(url, token) as kernel:
            return await kernel.processes.complete(pid, content, reason=reason)

    process = run(work())
    print_json(process) if as_json else print(f"{process['pid']} {process['state']} {process['outcome']}")


def why(pid: Annotated[int, typer.Argument()], as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Why a process does not run, who holds what it needs, and what would change that."""

    async def work() -> dict[str, Any]:
        async with connect(url, token) as kernel:
            return await kernel.processes.why(pid)

    found = run(work())
    if as_json:
        print_json(found)
        return
    place = f", number {found['position']} in its queue" if found.get("position") is not None else ""
    print(f"{pid} is {found['state']}{place}: {found['reason']}")
    for blocker in found.get("blockers") or ():
        free = f"{blocker.get('free')} of {blocker['total']} free" if blocker.get("total") is not None else ""
        held = ", ".join(str(each["pid"]) for each in blocker.get("held_by") or ())
        wanted = " ".join(f"{name}={value}" for name, value in (blocker.get("requirement") or {}).items() if value)
        print(f"  needs {wanted}" + (f": {free}" if free else "") + (f", held by {held}" if held else ""))
    eta = found.get("eta") or {}
    if eta.get("p50"):
        print(f"  expected {eta['p50']}, at the latest (90 %) {eta.get('p90')}")
    for each in found.get("would_unblock") or ():
        print(f"  would help: {each}")
