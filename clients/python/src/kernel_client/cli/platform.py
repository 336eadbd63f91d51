"""The installation on this machine: up, down, status, run, token, fsck."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_client.cli.output import Json, console, print_json, print_table, stop
from kernel_client.local import NO_PLATFORM

if TYPE_CHECKING:
    from types import ModuleType

Services = Annotated[
    str | None, typer.Option("--services", help="Replicas by service: process-svc=2,rules-svc=2", metavar="NAME=N,...")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing where all is well.")]


def add_to(app: typer.Typer) -> None:
    for command in (up, down, status, run, token, fsck):
        app.command()(command)


def _load(name: str) -> "ModuleType":
    """A module of the platform, or a clear word that it is not installed."""
    from importlib import import_module

    try:
        return import_module(f"kernel_platform.{name}")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("kernel_platform"):
            stop(NO_PLATFORM)
        raise


def _replicas(text: str | None) -> dict[str, int] | None:
    if not text:
        return None
    wanted: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        if not name or not equals or not number.strip().isdigit():
            stop(f"--services takes NAME=N,... and not {part!r}", 2)
        wanted[name] = int(number)
    return wanted


def _progress(quiet: bool) -> Any:
    return (lambda text: None) if quiet else (lambda text: print(f"kernel: {text}", flush=True))


def up(services: Services = None, quiet: Quiet = False) -> None:
    """Start the installation in the background; ready when this returns. Again: puts the replicas right."""
    state = _load("control").up(_replicas(services), _progress(quiet))
    if not quiet:
        print(f"kernel: ready at {state['gateway']} (docs at {state['gateway']}/docs)")


def down(quiet: Quiet = False) -> None:
    """Stop all of it."""
    was_up = _load("control").down(_progress(quiet))
    if not quiet:
        print("kernel: stopped" if was_up else "kernel: nothing was running")


def status(as_json: Json = False) -> None:
    """What runs where. Exit code 1 where it is not ready."""
    state = _load("control").status()
    if as_json:
        print_json(state)
    elif not state["services"]:
        print("kernel: nothing runs here; `kernel up` starts it")
    else:
        rows = [
            [f"{each['name']}-{each['replica']}", each["pid"], each["url"], "ready" if each["ready"] else "not ready"]
            for each in state["services"]
        ]
        print_table(["service", "pid>", "address", "state"], rows)
        print(f"gateway {state['gateway']}   docs {state['gateway']}/docs   kafka {state['kafka']}")
    if not state["ready"]:
        raise typer.Exit(1)


def token(
    role: Annotated[list[str], typer.Option("--role", help="viewer, operator, integrator, designer or admin.")],
    operator: Annotated[str | None, typer.Option(help="The operator whose work it is for.")] = None,
    tenant: Annotated[str, typer.Option()] = "main",
    ttl: Annotated[int, typer.Option(min=1, help="Seconds until it ends.")] = 3600,
) -> None:
    """Print a bearer token of the local issuer."""
    issuer, home = _load("issuer"), _load("home")
    try:
        print(issuer.mint(home.Home.default(), role, operator=operator, tenant=tenant, ttl=ttl))
    except ValueError as error:
        stop(str(error), 2)


def fsck(
    as_json: Json = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds that work in flight has to settle.")] = 10,
) -> None:
    """Check the invariants on the running installation. Exit code 1 where one is broken."""
    found = _load("fsck").run(_load("home").Home.default(), wait=wait)
    if as_json:
        print_json(found)
    else:
        rows = [
            [each["name"], each["breaches"] or "ok", "; ".join(map(str, each["examples"][:3]))]
            for each in found["checks"]
        ]
        print_table(["check", "breaches>", "examples"], rows)
        print("kernel: all invariants hold" if found["ok"] else "kernel: invariants are broken")
    if not found["ok"]:
        raise typer.Exit(1)


def run(
    example: Annotated[
        str, typer.Argument(help="A folder of examples/ with a design.yaml and a run.py.")
    ] = "permit-office",
    cases: Annotated[int, typer.Option(min=1, help="How many cases arrive.")] = 60,
    seed: Annotated[int, typer.Option(help="Chance begins here; the same again gives the same cases.")] = 1,
    leave: Annotated[
        bool, typer.Option("--exit", help="End after the summary instead of staying until Ctrl-C.")
    ] = False,
    services: Services = None,
) -> None:
    """Start everything, play an example through it, show what happened; stays until Ctrl-C."""
    from kernel_client.cli.example import play

    control, home = _load("control"), _load("home")
    root = home.checkout()
    folder = root / "examples" / example if root else None
    if folder is None or not (folder / "run.py").is_file():
        known = sorted(each.parent.name for each in root.glob("examples/*/run.py")) if root else []
        stop(f"there is no example {example}; there are: {', '.join(known) or 'none'}", 2)
    code = control.run_foreground(
        lambda state: play(folder, state, cases=cases, seed=seed, out=console()),
        _replicas(services),
        _progress(False),
        exit_after=leave,
    )
    raise typer.Exit(code)
