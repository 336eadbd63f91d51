"""`kernel bulk COMMAND`: one command to all that a filter finds, and `kernel jobs`: what becomes of it."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, print_json, print_table, run, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from kernel_client.client import Kernel

SHOWN = 20
"""Items that are listed at the end."""


def add_to(app: typer.Typer) -> None:
    app.command()(bulk)
    app.command()(jobs)
    app.command()(job)


def _value(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _members(given: list[str], option: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            stop(f"{option} takes NAME=VALUE, not {each!r}", 2)
        found[name] = _value(value)
    return found


def bulk(
    command: Annotated[str, typer.Argument(help="cancel, suspend, resume, prioritize, ... or resolve (incidents).")],
    service: Annotated[str | None, typer.Option()] = None,
    state: Annotated[str | None, typer.Option(help="One or several by commas: READY,RUNNING.")] = None,
    queue: Annotated[str | None, typer.Option()] = None,
    entity: Annotated[str | None, typer.Option(help="TYPE:ID.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, any other filter of the list.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Needed where nothing else says which.")] = False,
    give: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE that the command takes.")] = None,
    reason: Annotated[str | None, typer.Option()] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of each and do nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Give a command to all processes that a filter finds, as a job; shows its progress. Exit 1 where some failed."""
    found: dict[str, Any] = {"service": service, "state": state and state.upper(), "queue": queue}
    if entity is not None:
        kind, colon, id = entity.partition(":")
        if not kind or not colon or not id:
            stop(f"--entity takes TYPE:ID, not {entity!r}", 2)
        found |= {"entity_type": kind, "entity_id": id}
    filter = {name: value for name, value in found.items() if value is not None} | _members(where or [], "--where")
    if not filter and not everything:
        stop("say which: --service, --state, --queue, --entity, --where NAME=VALUE, or --all", 2)
    body = _members(give or [], "--set") | ({} if reason is None else {"reason": reason})
    if command == "resolve" and "action" not in body:
        stop("resolve takes --set action=retry|skip|rollback|terminate", 2)

    async def work() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with connect(url, token) as kernel:
            if command == "resolve":
                started = await kernel.jobs.resolve(filter, dry_run=dry_run, **body)
            else:
                started = await kernel.jobs.start(command, filter, dry_run=dry_run, **body)
            if detach:
                return started, []
            return await _watched(kernel, started["id"], quiet=as_json)

    done, items = run(work())
    if as_json:
        print_json({**done, "items": items})
    else:
        _show(done, items, detach)
    if done["failed"] and not dry_run:
        raise typer.Exit(1)


async def _watched(kernel: "Kernel", id: int, *, quiet: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    progress = sys.stderr.isatty() and not quiet

    def told(job: dict[str, Any]) -> None:
        if progress:
            settled = job["done"] + job["failed"]
            print(
                f"\r{job['state']}: {settled:,} of {job['total']:,}, {job['failed']:,} failed ", end="", file=sys.stderr
            )

    done = await kernel.jobs.wait(id, told)
    if progress:
        print(file=sys.stderr)
    status = None if done["dry_run"] or not done["failed"] else "failed"
    items = [item async for item in _first(kernel, id, status)] if done["dry_run"] or done["failed"] else []
    return done, items


async def _first(kernel: "Kernel", id: int, status: str | None) -> Any:
    number = 0
    async for item in kernel.jobs.items(id, status=status):
        if number == SHOWN:
            return
        number += 1
        yield item


def _show(job: dict[str, Any], items: list[dict[str, Any]], detached: bool) -> None:
    if detached:
        print(f"job {job['id']}: {job['total']:,} processes; kernel job {job['id']} shows how far it is")
        return
    if items:
        print_table(["pid>", "status", "what"], [[item["pid"], item["status"], _what(item)] for item in items])
        more = (job["total"] if job["dry_run"] else job["failed"]) - len(items)
        if more > 0:
            print(f"and {more:,} more: kernel job {job['id']} --items")
    would = "would be " if job["dry_run"] else ""
    print(
        f"job {job['id']} {job['state']}: {job['done']:,} of {job['total']:,} {would}done, {job['failed']:,} {would}refused"
        + (f"; {job['error']}" if job["error"] else "")
    )


def _what(item: dict[str, Any]) -> str:
    if problem := item.get("problem"):
        return str(problem["detail"])
    change = item.get("change") or {}
    return (
        f"{change['from']} -> {change['to']}" + (f" {change['outcome']}" if change.get("outcome") else "")
        if change
        else ""
    )


def jobs(
    state: Annotated[
        str | None, typer.Option(help="collecting, running, paused, completed, cancelled, failed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List bulk jobs, newest first."""

    async def work() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with connect(url, token) as kernel:
            async for each in kernel.jobs.list(state=state):
                found.append(each)
                if len(found) == limit:
                    break
        return found

    found = run(work())
    if as_json:
        print_json(found)
        return
    columns = ["job>", "command", "state", "total>", "done>", "failed>", "by", "created"]
    names = ("id", "command", "state", "total", "done", "failed", "by", "created_at")
    print_table(columns, [[each[name] for name in names] for each in found])


def job(
    id: Annotated[int, typer.Argument()],
    pause: Annotated[bool, typer.Option("--pause")] = False,
    resume: Annotated[bool, typer.Option("--resume")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="What is done stays done.")] = False,
    items: Annotated[bool, typer.Option("--items", help="List every item.")] = False,
    status: Annotated[str | None, typer.Option(help="Only items that are pending, done, failed, cancelled.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """One bulk job: how far it is, its items, or pause, resume, cancel it."""
    actions = [name for name, given in (("pause", pause), ("resume", resume), ("cancel", cancel)) if given]
    if len(actions) > 1:
        stop("one of --pause, --resume, --cancel", 2)

    async def work() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with connect(url, token) as kernel:
            found = await kernel.jobs.control(id, actions[0]) if actions else await kernel.jobs.get(id)
            listed = [each async for each in kernel.jobs.items(id, status=status)] if items or status else []
            return found, listed

    found, listed = run(work())
    if as_json:
        print_json({**found, "items": listed} if items or status else found)
        return
    if listed:
        print_table(["pid>", "status", "what"], [[each["pid"], each["status"], _what(each)] for each in listed])
    settled = found["done"] + found["failed"]
    print(
        f"job {id} {found['command']} {found['state']}: {settled:,} of {found['total']:,}, {found['failed']:,} failed"
    )
