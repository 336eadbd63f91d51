"""How the command speaks: tables for people, JSON for programs, one clear line where something is wrong."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]
Url = Annotated[str | None, typer.Option("--url", help="The gateway's address. [KERNEL_URL, else the local one]")]
Token = Annotated[str | None, typer.Option("--token", help="A bearer token. [KERNEL_TOKEN, else the local issuer's]")]


def stop(message: str, code: int = 1) -> NoReturn:
    """Ends the command with one message on stderr."""
    print(f"kernel: {message}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def failures() -> Iterator[None]:
    """No traceback reaches a user for what is not a defect of ours. KERNEL_TRACEBACK=1 shows it all the same."""
    from kernel_client.errors import KernelError

    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stdout = None
        sys.exit(0)
    except Exception as error:
        known = isinstance(error, KernelError | OSError) or type(error).__module__.startswith("kernel_platform")
        if os.environ.get("KERNEL_TRACEBACK"):
            raise
        text = _said(error) if known else f"{type(error).__name__}: {error} (KERNEL_TRACEBACK=1 shows where)"
        print(f"kernel: {text}", file=sys.stderr)
        sys.exit(1)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _plain(text: str) -> str:
    """Without what would change how a terminal shows the rest."""
    return "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text)


def print_table(columns: list[str], rows: list[list[Any]], *, title: str | None = None) -> None:
    """Columns whose name ends in `>` are right-aligned. Where the output is no terminal nothing is cut or wrapped."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    out = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(_plain(str(cell))) for cell in row))
    if not out.is_terminal:
        out.width = 400
    if title:
        out.print(f"\n[bold]{title}[/bold]")
    out.print(table)
