"""The part of a batch that is about how many children a process has, and how many of them have ended.

Who creates a child holds its parent's lock and counts it at once. A child that ends does not lock its parent: what it changes
travels in the follow-up `join`, and is counted by whoever takes that, under the lock of the parent. So no change looks at all
children, and the rows together with the follow-ups on their way are exact.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson
from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.domain.states import TERMINATED
from process_svc.store import families as store
from process_svc.store.families import Kin
from process_svc.store.follow_ups import JOIN, FollowUp


class Family:
    """The children of one process, counted."""

    def __init__(self) -> None:
        self.ended = 0
        self.alive: Counter[tuple[str, int]] = Counter()
        """By service and its version."""

    @property
    def total(self) -> int:
        return self.ended + self.alive.total()

    def count(self, kin: Kin) -> None:
        self.ended += kin.ended
        self.alive[kin.service, kin.version] += kin.total - kin.ended


class Families:
    """Nothing is asked of the database where no parent is concerned."""

    def __init__(self) -> None:
        self.of: dict[int, Family] = {}
        """Of locked processes that have children, with all that has been committed."""
        self._known: dict[tuple[int, str, int], list[int]] = {}
        """[total, ended] to be added to the rows."""
        self._told: dict[int, dict[tuple[str, int], list[int]]] = {}
        """parent -> the same by service version, to be added by its follow-up."""

    async def load(self, connection: Connection, parents: Iterable[int], taken: Iterable[FollowUp]) -> None:
        """After the locks. `taken`: follow-ups that this batch carries out."""
        self.of = {pid: Family() for pid in parents}
        kin, pending = await store.counted(connection, self.of)
        for each in kin:
            self.of[each.pid].count(each)
        for pid, data in pending:
            for each in differences(pid, data):
                self.of[pid].count(each)
        for follow_up in taken:
            if follow_up.kind != JOIN or follow_up.data is None or follow_up.pid not in self.of:
                continue
            for each in differences(follow_up.pid, follow_up.data):
                self.of[each.pid].count(each)
                _add(self._known, (each.pid, each.service, each.version), each.total, each.ended)

    def born(self, child: Process) -> None:
        """Its parent is locked, as whoever creates a child does."""
        assert child.parent is not None
        self._count(child.parent, child, 1, 0)
        _add(self._known, (child.parent, child.service, child.service_version), 1, 0)

    def changed(self, before: Process, after: Process) -> bool:
        """Whether its parent has to be told: it ended, came back to life, or is of another service version now."""
        assert after.parent is not None
        was, now = before.state is TERMINATED, after.state is TERMINATED
        if was is now and before.service_version == after.service_version:
            return False
        told = self._told.setdefault(after.parent, {})
        for process, sign, ended in ((before, -1, was), (after, 1, now)):
            self._count(after.parent, process, sign, sign * ended)
            _add(told, (process.service, process.service_version), sign, sign * ended)
        return True

    def _count(self, parent: int, child: Process, total: int, ended: int) -> None:
        if (family := self.of.get(parent)) is not None:
            family.count(Kin(parent, child.service, child.service_version, total, ended))

    def told(self, parent: int) -> list[list[object]]:
        """What the follow-up of `parent` adds: [service, version, total, ended] each."""
        return [[*key, *numbers] for key, numbers in self._told.get(parent, {}).items() if any(numbers)]

    async def save(self, connection: Connection) -> None:
        if self._known:
            await store.add(connection, [Kin(*key, *numbers) for key, numbers in sorted(self._known.items())])


def differences(pid: int, data: str) -> list[Kin]:
    """What the `data` of a follow-up adds to the family of `pid`."""
    return [Kin(pid, *each) for each in orjson.loads(data).get("kin", ())]


def _add(numbers: dict[Any, list[int]], key: Any, total: int, ended: int) -> None:
    found = numbers.setdefault(key, [0, 0])
    found[0] += total
    found[1] += ended
