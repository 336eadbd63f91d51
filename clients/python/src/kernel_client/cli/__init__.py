"""The `kernel` command: one module a group; what a command needs is imported when it runs, so that each starts fast."""

import sys

import typer

from kernel_client.cli import bulk, contest, dead_letters, design, holds, ledger, output, platform, processes
from kernel_client.cli import replay as replay_log
from kernel_client.cli import worker as worker_command

app = typer.Typer(
    name="kernel",
    help="Runs a company's processes the way an operating system runs programs.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for group in (platform, processes, bulk, design, ledger, replay_log, worker_command, contest):
    group.add_to(app)
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(holds.app, name="hold")


def main() -> None:
    """Exit codes: 0 well, 1 the kernel (or the machine) says no, 2 the command line is wrong, 130 Ctrl-C."""
    with output.failures():
        app(prog_name="kernel")
    sys.exit(0)
