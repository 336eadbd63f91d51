"""Plays an example: its folder has a design.yaml and a run.py with `async def play(scene: Scene) -> None`."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_client.errors import KernelError

if TYPE_CHECKING:
    from rich.console import Console


def play(folder: Path, state: dict[str, Any], *, cases: int, seed: int, out: "Console") -> None:
    """All of it, summary included; raises KernelError."""
    from kernel_client.scene import Scene

    scene = Scene(folder, state["gateway"], cases=cases, seed=seed, out=out)
    asyncio.run(_play(scene, load(folder)))


async def _play(scene: Any, script: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    async with scene:
        await script(scene)


def load(folder: Path) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """The `play` of the folder's run.py."""
    file = folder / "run.py"
    name = f"kernel_example_{folder.name.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise KernelError(f"{file} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    script: Callable[[Any], Coroutine[Any, Any, None]] = module.play
    return script
