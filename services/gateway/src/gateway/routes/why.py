"""Why a process does not run, or what it is doing: the scheduler knows of those that are ready, the process of the others."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.models.processes import Why
from gateway.operation import Answer, Call, Operation, quoted
from gateway.reply import Reply, json_reply

Process = Mapping[str, Any]


async def why(call: Call) -> Reply:
    path = f"/v1/processes/{quoted(call.params['pid'])}"
    found = await call.ask("process-svc", "GET", path)
    if not found.good:
        return found
    process = found.json()
    if process["state"] == "READY":
        told = await call.ask("scheduler-svc", "GET", f"{path}/why")
        if told.status != 404:
            return told
        return json_reply(_answer(process, "It became ready just now and is on its way to its queue.", []))
    return json_reply(_EXPLAIN[process["state"]](process))


def _answer(
    process: Process, reason: str, blockers: list[dict[str, Any]], unblock: list[str] | None = None
) -> dict[str, Any]:
    return {
        "state": process["state"],
        "reason": reason,
        "position": None,
        "blockers": blockers,
        "eta": {"p50": None, "p90": None},
        "would_unblock": unblock or [],
    }


def _new(process: Process) -> dict[str, Any]:
    blockers: list[dict[str, Any]] = []
    unblock: list[str] = []
    if process.get("after"):
        blockers.append(
            {
                "requirement": {"after": process["after"]},
                "held_by": [{"pid": pid, "until": None} for pid in process["after"]],
            }
        )
        unblock.append(f"the end of {', '.join(map(str, process['after']))}")
    if (ahead := process.get("ahead")) is not None:
        requirement = {"entity": process["entity"], "service": process["service"]}
        blockers.append({"requirement": requirement, "held_by": [{"pid": ahead, "until": None}]})
        unblock.append(f"the end of process {ahead}, which comes before it on its entity")
    if process.get("not_before"):
        blockers.append({"requirement": {"not_before": process["not_before"]}, "held_by": []})
        unblock.append(f"the time {process['not_before']}")
    if process.get("attempt", 1) > 1 and not blockers:
        return _answer(
            process,
            f"Attempt {process['attempt'] - 1} failed; the next one begins after its back-off.",
            blockers,
            unblock,
        )
    return _answer(
        process, "It is not admitted yet: what it comes after, or its time, is still missing.", blockers, unblock
    )


def _running(process: Process) -> dict[str, Any]:
    who = f"by {process['operator']} " if process.get("operator") else ""
    return _answer(process, f"It runs {who}since {process.get('started_at')}.", [])


def _waiting(process: Process) -> dict[str, Any]:
    target = process.get("waiting_for") or {}
    reason, unblock = "It waits.", []
    if event := target.get("event"):
        key = f" with the key {event['key']}" if event.get("key") else ""
        reason, unblock = (
            f"It waits for an event of type {event['type']}{key}.",
            [f"an event of type {event['type']}{key}"],
        )
    elif target.get("timer"):
        reason, unblock = f"It waits until {target['timer']}.", [f"the time {target['timer']}"]
    elif target.get("children"):
        reason, unblock = "It waits for its children.", ["the end of its children"]
    if target.get("timeout"):
        unblock.append(f"the end of its patience at {target['timeout']}")
    blockers: list[dict[str, Any]] = [{"requirement": target, "held_by": []}] if target else []
    return _answer(process, reason, blockers, [*unblock, "wake"])


def _suspended(process: Process) -> dict[str, Any]:
    incident = process.get("incident")
    if incident is not None:
        blockers = [{"requirement": {"incident": incident}, "held_by": []}]
        return _answer(
            process, f"Incident {incident} waits for somebody.", blockers, [f"resolving incident {incident}"]
        )
    return _answer(process, "It was set aside.", [], ["resume"])


def _terminated(process: Process) -> dict[str, Any]:
    return _answer(process, f"It ended at {process.get('ended_at')}: {process.get('outcome')}.", [])


_EXPLAIN: Mapping[str, Callable[[Process], dict[str, Any]]] = {
    "NEW": _new,
    "RUNNING": _running,
    "WAITING": _waiting,
    "SUSPENDED": _suspended,
    "TERMINATED": _terminated,
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/processes/{pid}/why",
        "Why it does not run",
        "Processes",
        {
            200: Answer(
                "What is missing, who holds it, and when it should run.",
                Why,
                {
                    "state": "READY",
                    "reason": "no_capacity",
                    "position": 3,
                    "blockers": [
                        {
                            "requirement": {"type": "operator", "roles": ["clerk"]},
                            "total": 4,
                            "free": 0,
                            "held_by": [{"pid": 4690, "until": None}],
                        }
                    ],
                    "eta": {"p50": "2026-11-25T09:20:00Z", "p90": "2026-11-25T10:05:00Z"},
                    "would_unblock": ["one more operator with the role clerk"],
                },
            )
        },
        handler=why,
        refuses=(404,),
    ),
)
