"""The ledger by hand: verify, checkpoints, export."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, console, print_json, run, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_client.client import Kernel


def add_to(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(checkpoints)
    app.command()(export)


def verify(
    pid: Annotated[int | None, typer.Argument(help="One process. [all of the tenant]")] = None,
    file: Annotated[
        Path | None, typer.Option("--checkpoints", help="Verify the checkpoints in this file, offline.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The public key (hexadecimal) that must have signed them. [any]")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="With --checkpoints: compare with the installation too.")
    ] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Recompute the chains of journal and snapshots. Exit code 1 where a link is broken, which is named."""
    if file is not None:
        _verify_file(file, key, (url, token) if live else None, as_json)
        return

    async def one(number: int) -> dict[str, Any]:
        async with connect(url, token) as kernel:
            return await kernel.processes.verify(number)

    async def every() -> dict[str, Any]:
        async with connect(url, token) as kernel:
            return await _walk(kernel, quiet=as_json)

    if pid is not None:
        found = run(one(pid))
        broken = [found["broken"]] if found["broken"] else []
        said = f"{pid}: {found['rows']} rows and {found['snapshots']} snapshots"
    else:
        found = run(every())
        broken = found["broken"]
        said = f"{found['checked']} processes"
    if as_json:
        print_json(found)
    else:
        for each in broken:
            print(f"process {each['pid']} is broken at version {each['version']}: {each['what']}")
        print(f"kernel: {said}: {'all of it verifies' if not broken else f'{len(broken)} broken'}")
    if broken:
        raise typer.Exit(1)


async def _walk(kernel: "Kernel", *, quiet: bool) -> dict[str, Any]:
    from rich.progress import Progress

    total = (await kernel.transport.request("GET", "/v1/processes", params={"limit": 1, "count": True})).data["total"]
    checked, broken = 0, []
    with Progress(console=console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("verifying", total=total)
        async for part in kernel.verify():
            checked += part["checked"]
            broken += part["broken"]
            progress.update(task, completed=checked)
    return {"ok": not broken, "checked": checked, "broken": broken}


def _verify_file(file: Path, key: str | None, live: tuple[str | None, str | None] | None, as_json: bool) -> None:
    try:
        from kernel_client.checkpoints import load, missing, wrong
    except ModuleNotFoundError:
        stop("this takes cryptography: pip install 'kernel-client[ledger]'")
    found = load(file)
    said = wrong(found, key)
    if live is not None:

        async def compared() -> list[str]:
            async with connect(*live) as kernel:
                tenant = (await kernel.me())["tenant"]
                return missing(found, [each async for each in kernel.checkpoints()], tenant)

        said += run(compared())
    keys = sorted({str(each.get("public_key")) for each in found})
    if as_json:
        print_json({"ok": not said, "checkpoints": len(found), "public_keys": keys, "wrong": said})
    else:
        for each in said:
            print(each)
        by = ", ".join(each[:16] for each in keys) or "nobody"
        print(f"kernel: {len(found)} checkpoints signed by {by}: {'all verify' if not said else f'{len(said)} wrong'}")
    if said:
        raise typer.Exit(1)


def checkpoints(
    out: Annotated[Path | None, typer.Option(help="Write them to this file.")] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Fetch the signed checkpoints, a line of JSON each: keep them outside of the installation."""
    import json

    async def fetch() -> list[dict[str, Any]]:
        async with connect(url, token) as kernel:
            return [each async for each in kernel.checkpoints()]

    found = run(fetch())
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in found)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text)
        print(f"kernel: {len(found)} checkpoints in {out}")


def export(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file. [standard output]")] = None,
    format: Annotated[str | None, typer.Option(help="csv, xes or ocel. [as the file's name ends, else csv]")] = None,
    service: Annotated[str | None, typer.Option(help="Only processes of this service.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Only what happened from this time on (RFC 3339).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Only what happened before this time.")] = None,
    case: Annotated[str | None, typer.Option(help="process, root or entity: what a case is. [process]")] = None,
    lifecycle: Annotated[str | None, typer.Option(help="Only these transitions: start,resume,complete.")] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Write the history as an event log that process-mining tools read."""
    ending = "" if out is None else out.suffix.lstrip(".")
    chosen = format or {"xes": "xes", "xml": "xes", "jsonocel": "ocel", "json": "ocel"}.get(ending, "csv")
    wanted = {"service": service, "from": since, "to": until, "case": case, "lifecycle": lifecycle}

    async def fetch() -> int:
        async with connect(url, token) as kernel:
            return await _write(kernel.export(chosen, **wanted), out)

    size = run(fetch())
    if out is not None:
        print(f"kernel: {size:,} bytes of {chosen} in {out}")


async def _write(chunks: "AsyncIterator[bytes]", out: Path | None) -> int:
    """Under another name until it is whole."""
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    if out is None:
        async for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        return 0
    partly = out.with_name(out.name + ".part")
    columns = (TextColumn(out.name), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    size = 0
    with Progress(*columns, console=console(stderr=True), transient=True) as progress, partly.open("wb") as file:
        task = progress.add_task("export", total=None)
        async for chunk in chunks:
            file.write(chunk)
            size += len(chunk)
            progress.update(task, completed=size)
    partly.replace(out)
    return size
