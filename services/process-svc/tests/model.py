"""A small reference model of processes and their families, written from the design and not from the code.

It knows nothing of batches, locks, or rows. What the end of a process means for its relatives happens level by level: its parent
goes on, its children are closed, its successors are admitted; then what the ends of those mean.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ALIVE = {"NEW", "READY", "RUNNING", "WAITING", "SUSPENDED"}
MAX_ATTEMPTS = {"retrying": 2}
ON_CLOSE = {"kept": "detach", "awaited": "wait"}
WANTED = {"completed": {"completed"}, "failed": {"failed"}, "always": {"completed", "cancelled", "failed"}}


@dataclass
class Pcb:
    pid: int
    service: str
    parent: int | None = None
    after: tuple[int, ...] = ()
    mode: str = "all"
    on: str = "completed"
    state: str = "NEW"
    outcome: str | None = None
    priority: int = 50
    attempt: int = 1
    incident: bool = False
    came_from: str | None = None
    waiting: str | None = None
    """event, all or any (children), call, barrier; met: what it waited for came while it was suspended."""
    called: "Called | None" = None
    context: dict[str, Any] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    """(command, state) of each version."""
    snapshots: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        return len(self.history)

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


@dataclass
class Called:
    """What a process waits for by `call` (one item) or `map`: children made for it, `need` of which have to be completed."""

    children: list[int]
    need: int
    single: bool
    into: str


class Model:
    """Each method carries a command out and says whether it was accepted."""

    def __init__(self) -> None:
        self.all: dict[int, Pcb] = {}
        self._later: deque[Callable[[], None]] = deque()
        """What relatives have not been told yet."""

    # --- what is asked

    def create(self, pid: int, service: str, parent: int | None, after: tuple[int, ...], mode: str, on: str) -> bool:
        made = Pcb(pid, service, parent, after, mode, on)
        if (parent is not None and not self.all[parent].alive) or self._gate(made) == "never":
            return False
        self.all[pid] = made
        made.context = {"n": 0}
        self._become(made, "create", "NEW")
        made.snapshots[1] = made.context
        self._admit(made)
        return True

    def grant(self, it: Pcb) -> bool:
        return it.state == "READY" and self._become(it, "dispatch", "RUNNING")

    def complete(self, it: Pcb) -> bool:
        if it.state != "RUNNING" or any(self._awaited(child) for child in self._children(it)):
            return False
        return self._end(it, "complete", "completed")

    def cancel(self, it: Pcb) -> bool:
        return it.alive and self._end(it, "cancel", "cancelled")

    def fail(self, it: Pcb, poison: bool) -> bool:
        if it.state != "RUNNING":
            return False
        if it.attempt < MAX_ATTEMPTS.get(it.service, 1) and not poison:
            it.attempt += 1
            return self._become(it, "fail", "NEW")
        if it.service == "failing":
            return self._end(it, "fail", "failed")
        return self._raise(it, "fail")

    def tick(self, it: Pcb) -> bool:
        """A back-off of no time has passed."""
        self._admit(it)
        return True

    def suspend(self, it: Pcb, cascade: bool) -> bool:
        if it.state in ("SUSPENDED", "TERMINATED"):
            return False
        self._suspend(it)
        if cascade:
            self._below(it, lambda child: child.state != "SUSPENDED" and self._suspend(child))
        return True

    def resume(self, it: Pcb, cascade: bool) -> bool:
        if it.state != "SUSPENDED" or it.incident:
            return False
        self._resume(it)
        if cascade:
            self._below(it, lambda child: child.state == "SUSPENDED" and not child.incident and self._resume(child))
        return True

    def wait(self, it: Pcb, what: str) -> bool:
        """`what`: event, all, any."""
        if it.state != "RUNNING" or (what != "event" and (not self._children(it) or self._over(it, what))):
            return False
        it.waiting = what
        return self._become(it, "wait", "WAITING")

    def call(self, it: Pcb) -> bool:
        """`call` or `map`; then `begun` says which children the kernel has made for it."""
        if it.state != "RUNNING":
            return False
        it.waiting = "call"
        return self._become(it, "call", "WAITING")

    def begun(self, it: Pcb, service: str, pids: list[int], *, need: int, single: bool) -> None:
        it.called = Called(pids, need, single, service)
        if not single:
            it.history[-1] = ("map", "WAITING")
        for pid in pids:
            self.create(pid, service, it.pid, (), "all", "completed")
            self.all[pid].priority = max(50, it.priority)

    def arrive(self, it: Pcb, parties: int) -> bool:
        if it.state != "RUNNING":
            return False
        it.waiting = "barrier"
        self._become(it, "arrive", "WAITING")
        there = [each for each in self.all.values() if each.waiting == "barrier"]
        if len(there) == parties:
            for each in [it, *(each for each in there if each is not it)]:
                if each.state == "WAITING":
                    self._leave(each)
                    self._become(each, "wake", "READY")
                else:
                    each.waiting = "met"
        return True

    def wake(self, it: Pcb, context: dict[str, Any]) -> bool:
        if it.state == "SUSPENDED" and it.came_from == "WAITING" and it.waiting not in ("met", None):
            self._become(it, "wake", "SUSPENDED")
            self._keep(it, {**it.context, **context})
            self._leave(it)
            it.waiting = "met"
            return True
        if it.state != "WAITING":
            return False
        self._become(it, "wake", "READY")
        self._keep(it, {**it.context, **context})
        self._leave(it)
        return True

    def release(self, it: Pcb) -> bool:
        return it.state == "RUNNING" and self._become(it, "release", "READY")

    def prioritize(self, it: Pcb, priority: int) -> bool:
        if not it.alive:
            return False
        it.priority = priority
        self._become(it, "prioritize", it.state)
        self._admit(it)
        return True

    def set_context(self, it: Pcb, patch: dict[str, Any]) -> bool:
        if not it.alive:
            return False
        self._become(it, "set_context", it.state)
        self._keep(it, {name: value for name, value in {**it.context, **patch}.items() if value is not None})
        self._admit(it)
        return True

    def rollback(self, it: Pcb, version: int, resume: bool) -> bool:
        if it.outcome == "completed" or version > it.version:
            return False
        context = it.snapshots[max(number for number in it.snapshots if number <= version)]
        was_ended = not it.alive
        it.outcome, it.incident, it.attempt = None, False, 1
        it.came_from = None if resume else "READY"
        self._become(it, "rollback", "READY" if resume else "SUSPENDED")
        self._keep(it, context)
        if not was_ended:
            self._leave(it)
        return True

    def retry(self, it: Pcb) -> bool:
        if it.state != "SUSPENDED" or not it.incident:
            return False
        gate = self._gate(it) if it.came_from == "NEW" else "open"
        if gate == "never":
            return False
        if it.came_from != "NEW":
            it.attempt += 1
        it.incident, it.came_from = False, None
        self._leave(it)
        return self._become(it, "retry", "READY" if gate == "open" else "NEW")

    def skip(self, it: Pcb) -> bool:
        return it.state == "SUSPENDED" and it.incident and self._end(it, "skip", "completed")

    # --- what that means

    def _become(self, it: Pcb, command: str, state: str) -> bool:
        it.state = state
        it.history.append((command, state))
        return True

    def _keep(self, it: Pcb, context: dict[str, Any]) -> None:
        if context != it.context:
            it.context = context
            it.snapshots[it.version] = context

    def _children(self, it: Pcb) -> list[Pcb]:
        return [child for child in self.all.values() if child.parent == it.pid]

    def _awaited(self, child: Pcb) -> bool:
        return child.alive and ON_CLOSE.get(child.service) == "wait"

    def _over(self, it: Pcb, what: str | None) -> bool:
        ended = [not child.alive for child in self._children(it)]
        return any(ended) if what == "any" else all(ended)

    def _gate(self, it: Pcb) -> str:
        if not it.after or it.attempt > 1:
            return "open"
        wanted = WANTED[it.on]
        met = [self.all[pid].outcome in wanted for pid in it.after]
        lost = [not self.all[pid].alive and self.all[pid].outcome not in wanted for pid in it.after]
        if it.mode == "all":
            return "never" if any(lost) else "open" if all(met) else "closed"
        return "open" if any(met) else "never" if all(lost) else "closed"

    def _admit(self, it: Pcb) -> None:
        if it.state != "NEW":
            return
        match self._gate(it):
            case "open":
                self._become(it, "admit", "READY")
            case "never":
                self._raise(it, "suspend")

    def _raise(self, it: Pcb, command: str) -> bool:
        it.came_from, it.incident = it.state, True
        return self._become(it, command, "SUSPENDED")

    def _end(self, it: Pcb, command: str, outcome: str) -> bool:
        it.outcome, it.incident, it.waiting = outcome, False, None
        self._become(it, command, "TERMINATED")
        it.called = None
        self._do_later(lambda: self._tell_relatives(it))
        return True

    def _do_later(self, tell: Callable[[], None]) -> None:
        self._later.append(tell)
        if len(self._later) == 1:
            while self._later:
                self._later[0]()
                self._later.popleft()

    def _leave(self, it: Pcb) -> None:
        """It waits no more: what is left over of its call is cancelled."""
        called, it.waiting, it.called = it.called, None, None
        if called is not None and any(self.all[pid].alive for pid in called.children):
            self._do_later(lambda: self._cancel_all(called.children))

    def _cancel_all(self, pids: list[int]) -> None:
        for pid in pids:
            if self.all[pid].alive:
                self._end(self.all[pid], "cancel", "cancelled")

    def _tell_relatives(self, it: Pcb) -> None:
        if it.parent is not None:
            self._join(self.all[it.parent])
        for child in self._children(it):
            if child.alive and ON_CLOSE.get(child.service, "cancel") == "cancel":
                self._end(child, "cancel", "cancelled")
        for other in list(self.all.values()):
            if it.pid in other.after:
                self._admit(other)

    def _join(self, parent: Pcb) -> None:
        if parent.state == "WAITING" and parent.waiting == "call":
            self._return(parent)
        if parent.state == "WAITING" and parent.waiting in ("all", "any") and self._over(parent, parent.waiting):
            parent.waiting = None
            self._become(parent, "wake", "READY")

    def _return(self, it: Pcb) -> None:
        """Its call is over once enough children have completed, or can't any more; then it fails as its service says."""
        called = it.called
        assert called is not None
        ended = [self.all[pid] for pid in called.children if not self.all[pid].alive]
        completed = [child for child in ended if child.outcome == "completed"]
        if len(completed) >= called.need:
            brought = [{} if self.all[pid] in completed else None for pid in called.children]
            self._become(it, "return", "READY")
            self._keep(it, {**it.context, called.into: brought[0] if called.single else brought})
            self._leave(it)
        elif len(called.children) - len(ended) + len(completed) < called.need:
            if it.attempt < MAX_ATTEMPTS.get(it.service, 1):
                it.attempt += 1
                self._become(it, "return", "NEW")
                self._leave(it)
            elif it.service == "failing":
                self._end(it, "return", "failed")
            else:
                self._raise(it, "return")
                self._leave(it)

    def _suspend(self, it: Pcb) -> bool:
        it.came_from = it.state
        return self._become(it, "suspend", "SUSPENDED")

    def _resume(self, it: Pcb) -> bool:
        origin, it.came_from = it.came_from, None
        missing = it.waiting in ("all", "any") and not self._over(it, it.waiting)
        if origin == "WAITING" and (missing or it.waiting in ("event", "call", "barrier")):
            self._become(it, "resume", "WAITING")
            if it.waiting == "call":
                self._do_later(lambda: self._join(it))
            return True
        if origin == "NEW" and (gate := self._gate(it)) != "open":
            self._become(it, "resume", "NEW")
            return gate == "closed" or self._raise(it, "suspend")
        it.waiting = None
        return self._become(it, "resume", "READY")

    def _below(self, it: Pcb, do: Any) -> None:
        for child in self._children(it):
            if child.alive:
                do(child)
                self._below(child, do)
