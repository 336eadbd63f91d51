"""What examples are played on: the design applied, its people at work, progress shown, everything measured."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from kernel_client.blockers import Blockers
from kernel_client.errors import KernelError
from kernel_client.local import connect
from kernel_client.measure import Measure
from kernel_client.person import Person, Work
from kernel_client.types import Process

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

TERMINATED = "kernel.process.terminated.v1"
QUIET = 60.0
"""Seconds without an ended process after which a play is given up."""


TOLD_EVERY = 5.0
"""Seconds between lines of progress where the output is no terminal."""


class Scene:
    """One play of one example. `cases` and `seed` are what the user asked for; `out` is where the summary goes."""

    def __init__(self, folder: Path, url: str, *, cases: int, seed: int, out: "Console") -> None:
        self.folder = folder
        self.cases = cases
        self.seed = seed
        self.out = out
        self.run = f"{int(time.time()):x}"
        """Tells this play's dossiers from those of earlier ones."""
        self.kernel = connect(url, patience=30)
        self.measure = Measure()
        self.done = 0
        self.began = time.monotonic()
        self._url = url
        self._all_done = asyncio.Event()
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._told = self.began

    async def __aenter__(self) -> "Scene":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kernel.close()

    async def apply(self) -> Mapping[str, Any]:
        """The folder's design, as it was applied."""
        text = (self.folder / "design.yaml").read_text()
        applied = await self.kernel.apply(text)
        counts = ", ".join(f"{len(applied[kind])} {kind}" for kind in ("created", "changed", "unchanged"))
        self.out.print(f"kernel: {self.folder.name}: design applied ({counts})")
        return await self.kernel.design()

    @asynccontextmanager
    async def at_work(
        self, operators: Mapping[str, Any], work: Work, watch: "Watch", entity: str
    ) -> AsyncIterator[Blockers]:
        """While the block runs, all operators work, ends are told to `watch` and measured, and waiting is looked into."""
        blockers = Blockers(self.kernel, self.seed, entity_type=entity)
        async with self.kernel.stream(entity=entity, types=[TERMINATED]) as changes:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(Person(connect(self._url, operator=id, patience=30), id, work).run())
                        for id in operators
                    ]
                    tasks.append(group.create_task(self._follow(changes, watch)))
                    tasks.append(group.create_task(blockers.run()))
                    for id, definition in operators.items():
                        self.measure.expect(id, int(definition.get("capacity", 1)))
                    with self._shown():
                        yield blockers
                    for task in tasks:
                        task.cancel()
            except* KernelError as found:
                raise _first(found) from None

    async def _follow(self, changes: Any, watch: "Watch") -> None:
        async for change in changes:
            process = change["data"]
            if await watch.ended(process):
                self.measure.add(process)
                self._show()

    def case_done(self) -> None:
        self.done += 1
        self._show()
        if self.done >= self.cases:
            self._all_done.set()

    async def until_all_done(self) -> None:
        """Raises KernelError where nothing moves any more."""
        while not self._all_done.is_set():
            before = self.measure.tasks
            try:
                async with asyncio.timeout(QUIET):
                    await self._all_done.wait()
            except TimeoutError:
                if self.measure.tasks == before:
                    left = self.cases - self.done
                    raise KernelError(
                        f"nothing moved for {QUIET:.0f} s; {left} cases are open (`kernel ps` shows them)"
                    ) from None

    def _shown(self) -> "Progress":
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("cases"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[tasks]} tasks"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=self.out, transient=True)
        self._bar = self._progress.add_task("", total=self.cases, tasks=0)
        return self._progress

    def _show(self) -> None:
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, completed=self.done, tasks=self.measure.tasks)
        if not self.out.is_terminal and time.monotonic() > self._told + TOLD_EVERY:
            self._told = time.monotonic()
            self.out.print(f"kernel: {self.done} of {self.cases} cases, {self.measure.tasks} tasks done")


class Watch(Protocol):
    """What a script wants to know: each process of the entity type that has ended. True where it is one of this play's."""

    async def ended(self, process: Process) -> bool: ...


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
