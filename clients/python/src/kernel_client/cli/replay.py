"""An event log, run as live processes."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, Token, Url, console, print_json, run, stop
from kernel_client.local import connect

if TYPE_CHECKING:
    from kernel_client.eventlog import Log


def add_to(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    log: Annotated[Path, typer.Argument(help="XES or CSV, gzipped or not.")],
    speed: Annotated[
        str | None, typer.Option(help="How many times faster than recorded, or max. [so that it takes about a minute]")
    ] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="Only the first so many to arrive.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Of a CSV: case=..,activity=..,resource=..,start=..,end=.. [the usual names are found]"),
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Run the cases of an event log as live processes, and measure waits and utilisation."""
    from kernel_client.eventlog import read
    from kernel_client.eventlog.columns import parse
    from kernel_client.replay import durations
    from kernel_client.replay.plan import cut
    from kernel_client.replay.report import show, summary

    try:
        factor = durations.parse_speed(speed)
    except ValueError as error:
        stop(str(error), 2)
    found = read(log, parse(columns), cases=cases)
    if not found.cases:
        first = "".join(f"; line {line}: {why}" for line, why in found.bad.named[:3])
        stop(f"{log} has no usable rows ({found.bad.count} bad ones{first})")
    if speed is None:
        factor = durations.default_speed(found)
    for said in cut(found):
        print(f"kernel: {said}", file=sys.stderr)
    _announce(log, found, factor)
    played = run(_play(found, factor, url, token))
    told = summary(found, played, factor)
    print_json(told) if as_json else show(told)
    if played.interrupted:
        raise typer.Exit(130)
    if told["tasks"] < found.tasks:
        raise typer.Exit(1)


def _announce(path: Path, log: "Log", speed: float | None) -> None:
    """On stderr, as is the progress: stdout is for the result."""
    pace = f"{speed:g} times faster than recorded" if speed else "as fast as can be"
    print(
        f"kernel: {path.name}: {len(log.cases)} cases, {log.tasks} tasks, {len(log.activities)} activities,"
        f" {len(log.resources)} resources, {log.bad.count} bad rows; {pace}",
        file=sys.stderr,
    )


async def _play(log: "Log", speed: float | None, url: str | None, token: str | None) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kernel_client.replay.plan import plan
    from kernel_client.replay.run import Replay

    columns = (TextColumn("tasks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=log.tasks)
        async with connect(url, token, patience=60) as kernel:
            played = Replay(kernel, log, plan(log, speed), speed, lambda done: progress.update(bar, completed=done))
            with _ended_by_signals():
                await played.play()
    return played


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C (or SIGTERM) cancels the task, which then cleans up; a second one cuts that short."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end() -> None:
        release()
        task.cancel()

    def release() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        release()
