"""Why a process does not run, or what it is doing: the scheduler knows of those that are ready, the process of the others."""

from collections.abc import Awaitable, Callable, Mapping
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
    answer = _EXPLAIN[process["state"]](process)
    if (more := _MORE.get(process["state"])) is not None:
        answer |= await more(call, process, answer)
    return json_reply(answer)


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
    elif made := target.get("call"):
        reason, unblock = f"It waits for {made['service']}, which it called.", [f"the end of {made['service']}"]
    elif barrier := target.get("barrier"):
        told = f"{barrier['parties']} arrive at the barrier {barrier['name']!r}"
        reason, unblock = f"It waits until {told}.", [f"until {told}"]
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


async def _which_predecessors(call: Call, process: Process, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have not ended yet, and how they have to."""
    after = process.get("after") or []
    if not after:
        return {}
    asked = "&".join(f"pid={pid}" for pid in after[:100])
    found = await call.ask("process-svc", "GET", f"/v1/processes?limit=100&not_state=TERMINATED&{asked}")
    alive = [each["pid"] for each in found.json()["items"]] if found.good else after
    if not alive:
        return {}
    mode, on = process.get("after_mode", "all"), process.get("after_on", "completed")
    some = ", ".join(map(str, alive[:10])) + (f" and {len(alive) - 10} more" if len(alive) > 10 else "")
    how = "ended in whatever way" if on == "always" else on
    blocker = {
        "requirement": {"after": after, "mode": mode, "on": on},
        "total": len(after),
        "held_by": [{"pid": pid, "until": None} for pid in alive],
    }
    return {
        "reason": f"It begins when {mode} of its predecessors have {how}; {some} have not ended.",
        "blockers": [blocker, *answer["blockers"][1:]],
        "would_unblock": [f"the end of {some}", *answer["would_unblock"][1:]],
    }


async def _how_far(call: Call, process: Process, _: Mapping[str, Any]) -> dict[str, Any]:
    """Of the call that it waits for."""
    if not (process.get("waiting_for") or {}).get("call"):
        return {}
    found = await call.ask("process-svc", "GET", f"/v1/processes/{process['pid']}/calls?limit=1")
    items = found.json()["items"] if found.good else []
    if not items:
        return {}
    made = items[0]
    reason = (
        f"It waits for {made['service']}: {made['completed']} of {made['total']} have completed, {made['need']} are needed;"
        f" {made['started'] - made['ended']} are under way and {made['total'] - made['started']} have not begun."
    )
    return {"reason": reason, "blockers": [{"requirement": {"call": made}, "total": made["total"], "held_by": []}]}


async def _which_worker(call: Call, process: Process, _: Mapping[str, Any]) -> dict[str, Any]:
    """Where programs carry it out: who does, or that none does yet."""
    found = await call.ask("process-svc", "GET", f"/v1/work/{quoted(call.params['pid'])}")
    if not found.good:
        return {}
    lease, service = found.json(), process["service"]
    worker = lease.get("worker")
    if worker is not None:
        return {"reason": f"Worker {worker} carries it out; its lease lasts until {lease.get('lease_until')}."}
    return {
        "reason": f"It has what it needs since {process.get('started_at')}, but no worker has claimed it.",
        "blockers": [{"requirement": {"worker": service}, "held_by": []}],
        "would_unblock": [f"a worker that claims {service}"],
    }


async def _which_incident(call: Call, process: Process, _: Mapping[str, Any]) -> dict[str, Any]:
    if (id := process.get("incident")) is None:
        return {}
    found = await call.ask("process-svc", "GET", f"/v1/incidents/{id}")
    incident = found.json() if found.good else {}
    if "error" not in incident:
        return {}
    return {"reason": f"Incident {id} ({incident['type']}) waits for somebody: {incident['error'].get('message', '')}"}


_MORE: Mapping[str, Callable[[Call, Process, Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
    "NEW": _which_predecessors,
    "RUNNING": _which_worker,
    "WAITING": _how_far,
    "SUSPENDED": _which_incident,
}

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
