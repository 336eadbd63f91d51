"""`kernel worker`: runs a worker of yours. `kernel work`: who carries out what."""

import asyncio
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, print_json, print_table, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from types import ModuleType

    from kernel_client.worker import Worker


def add_to(app: typer.Typer) -> None:
    app.command("worker")(run)
    app.command("work")(work)


def run(
    target: Annotated[str, typer.Argument(help="MODULE:NAME or FILE.py:NAME of a Worker.", metavar="MODULE:NAME")],
    concurrency: Annotated[int | None, typer.Option(min=1, help="Processes at a time.")] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Carry out automatic processes until Ctrl-C or SIGTERM; what is under way is finished first."""
    worker = load(target)
    if url is not None:
        os.environ["KERNEL_URL"] = url
    if token is not None:
        os.environ["KERNEL_TOKEN"] = token
    if concurrency is not None:
        worker.concurrency = concurrency
    worker.run()


def work(
    service: Annotated[str | None, typer.Option(help="Of this service.")] = None,
    worker: Annotated[str | None, typer.Option(help="Held by this worker.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """What programs carry out: who, until when, how far; and what no worker has claimed yet."""

    async def read() -> list[dict[str, Any]]:
        async with connect(url, token) as kernel:
            return [each async for each in kernel.work.list(service=service, worker=worker)]

    found = asyncio.run(read())
    if as_json:
        print_json({"items": found})
        return
    rows = [
        [
            each["pid"],
            each["service"],
            each["priority"],
            each["worker"] or "(nobody)",
            each["lease_until"] or "",
            json.dumps(each["progress"]) if each["progress"] is not None else "",
        ]
        for each in found
    ]
    print_table(["pid>", "service", "priority>", "worker", "lease until", "progress"], rows)


def load(target: str) -> "Worker":
    """The worker that is named; ends the command where there is none."""
    from kernel_client.worker import Worker

    place, _, name = target.rpartition(":")
    if not place or not name:
        stop(f"say MODULE:NAME, such as tasks:worker, and not {target!r}", 2)
    found = getattr(_module(place), name, None)
    if not isinstance(found, Worker):
        stop(f"{place} has no Worker named {name}", 2)
    return found


def _module(place: str) -> "ModuleType":
    sys.path.insert(0, str(Path.cwd()))
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
                stop(f"there is no module {place}", 2)
            raise
    file = Path(place)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        stop(f"there is no file {place}", 2)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module
