"""Makes docs/state-machine.md from the table of the state machine; `--check` only compares."""

import sys
from pathlib import Path

from process_svc.domain.states import TABLE

PAGE = Path(__file__).parent.parent / "docs" / "state-machine.md"


def page() -> str:
    """The page as the table has it now."""
    edges: dict[tuple[str, str], list[str]] = {}
    rows = []
    for move in TABLE:
        sources = [state.value for state in move.sources] or ["[*]"]
        targets = [state.value for state in move.targets]
        for source in sources:
            for target in targets:
                if source != target:
                    edges.setdefault((source, target), []).append(move.command.value)
        shown = ", ".join(sources) if move.sources else "-"
        rows.append(f"| {move.command} | {shown} | {', '.join(targets) or 'as it was'} | {move.note} |")
    lines = [
        "# The state machine",
        "",
        "Made from `services/process-svc/src/process_svc/domain/states.py` by `tools/state_diagram.py`; CI compares.",
        "What is not in the table does not happen: an illegal command is 409 and changes nothing.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        *(f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in edges.items()),
        "    TERMINATED --> [*]",
        "```",
        "",
        "| command | from | to | |",
        "|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        if PAGE.read_text() == page():
            return 0
        print(f"{PAGE} is not what the table says: run python tools/state_diagram.py", file=sys.stderr)
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
