"""The ledger by hand: verify, checkpoints."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, console, print_json, run, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from kernel_client.client import Kernel


def add_to(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(checkpoints)


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
