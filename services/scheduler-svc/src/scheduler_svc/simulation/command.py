"""`contest`: what the judges of scheduling contests call. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

USAGE = """\
contest replay                         one instant a line on stdin, who starts on stdout
contest swf                            the same for rigid jobs on identical processors
"""


def main(arguments: list[str]) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name == "replay" and not rest:
        from scheduler_svc.simulation.people import People

        return _online(People)
    if name == "swf" and not rest:
        from scheduler_svc.simulation.batch import Batch

        return _online(Batch)
    print(USAGE, file=sys.stderr, end="")
    return 2


def _online(make: Callable[[dict[str, Any]], Any]) -> int:
    """Each line is everything of one instant, answered at once; `end` or the end of the input closes."""
    player = None
    for line in sys.stdin:
        told = json.loads(line)
        if told.get("end"):
            break
        if player is None:
            player = make(told)
            continue
        print(json.dumps(player.answer(told), separators=(",", ":")), flush=True)
    return 0
