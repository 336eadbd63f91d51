"""The end of a play, for people: what was done, who did how much, what waited for whom, where to look on."""

from collections.abc import Mapping
from typing import Any

from kernel_client.blockers import Blockers
from kernel_client.cli.output import print_table
from kernel_client.scene import Scene

LACKS_SHOWN = 10


def show(scene: Scene, blockers: Blockers, names: Mapping[str, Any], *, hour: float) -> None:
    """`names`: the operators of the design. `hour`: real seconds in which an hour of the story passes."""
    measure = scene.measure
    span = measure.seconds
    rate = measure.tasks / span if span else 0.0
    scene.out.print(
        f"\n[bold]{scene.done} cases done[/bold], {measure.tasks} tasks in {span:.1f} s ({rate:.1f}/s);"
        f" an hour of theirs passed in {hour:g} s"
    )
    print_table(
        ["service", "tasks>", "wait p50 s>", "p95>", "max>"],
        [
            [row["service"], row["tasks"], *(f"{row[name]:.2f}" for name in ("p50", "p95", "max"))]
            for row in measure.service_rows()
        ],
        title="How long it waited (READY to RUNNING)",
    )
    print_table(
        ["operator", "name", "roles", "tasks>", "busy s>", "share>"],
        [_who(row, names.get(row["id"], {})) for row in measure.operator_rows()],
        title="Who did how much",
    )
    print_table(
        ["waited for", "service", "about s>"],
        [list(row) for row in blockers.rows()[:LACKS_SHOWN]] or [["nobody and nothing", "", ""]],
        title="What waited for whom or what (the waiting time of all cases, by what was lacking)",
    )
    show_addresses(scene)


def _who(row: Mapping[str, Any], definition: Mapping[str, Any]) -> list[Any]:
    roles = ", ".join(definition.get("roles") or ())
    return [row["id"], definition.get("name"), roles, row["tasks"], f"{row['busy']:.1f}", f"{row['utilisation']:.0%}"]


def show_addresses(scene: Scene) -> None:
    url = scene.kernel.url
    out = scene.out
    out.print(f"API   {url}/v1", soft_wrap=True)
    out.print(f"docs  {url}/docs", soft_wrap=True)
    token = "$(.venv/bin/kernel token --role viewer)"
    out.print(f'try   curl -H "authorization: Bearer {token}" "{url}/v1/processes?limit=3&sort=-pid"', soft_wrap=True)
    out.print("and   .venv/bin/kernel ps --all · kernel fsck · kernel why PID · kernel status", soft_wrap=True)
