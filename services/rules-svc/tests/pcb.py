"""Bodies of process events."""

from typing import Any


def pcb(pid: int, version: int, state: str, **more: Any) -> dict[str, Any]:
    at = "2026-11-25T12:00:00+00:00"
    body = {"pid": pid, "tenant": "main", "version": version, "from_state": None, "state": state, "service": "s"}
    body |= {"service_version": 1, "entity": {"type": "permit", "id": "p"}, "priority": 50, "queue": "default"}
    return {**body, "attempt": 1, "at": at, "by": "t", "created_at": at, "context": {}, **more}


def waiting(pid: int, version: int, type: str, key: str | None, from_state: str = "RUNNING") -> dict[str, Any]:
    waiting_for = {"event": {"type": type, "key": key}}
    return pcb(pid, version, "WAITING", from_state=from_state, waiting_for=waiting_for)
