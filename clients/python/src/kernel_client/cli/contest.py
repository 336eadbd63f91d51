"""The judges' door: the planner of production on contest data, with a virtual clock."""

import os
import sys
from importlib.util import find_spec

import typer

from kernel_client.cli.output import stop


def add_to(app: typer.Typer) -> None:
    every = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command(context_settings=every)(contest)


def contest(context: typer.Context) -> None:
    """Schedule or forecast contest data by the planner's own code; without arguments it says what there is."""
    if find_spec("scheduler_svc") is None:
        stop("scheduler-svc is not installed here; contests run in the checkout")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "scheduler_svc", "contest", *context.args])
