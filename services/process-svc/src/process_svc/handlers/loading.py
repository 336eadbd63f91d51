"""What a batch has to know before it decides: whom it touches is locked in the order of pid, then what is theirs is read."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kernel_contracts.process import CreateProcess, Entity
from kernel_runtime.command import Command
from kernel_runtime.database import Connection

from process_svc.domain.limits import CLAIMED
from process_svc.domain.service import Service
from process_svc.domain.states import NEW, RUNNING
from process_svc.handlers import searched
from process_svc.handlers.job_work import JobWork
from process_svc.handlers.touch import Touched, touched
from process_svc.handlers.turns import Turns
from process_svc.handlers.undoing import request
from process_svc.store import chains, follow_ups, holds, incidents, lives
from process_svc.store import processes as store
from process_svc.store import services as service_store
from process_svc.store.follow_ups import COMPENSATE

if TYPE_CHECKING:
    from process_svc.handlers.work import Work


async def load(work: "Work", connection: Connection, commands: Sequence[Command]) -> None:
    """No statement is sent for what nothing in the batch has to do with."""
    found = touched(commands)
    if found.jobs or found.new_jobs:
        work.jobs = JobWork(work.memory)
        await work.jobs.load(connection, found)
    await searched.refresh(work.memory, connection)
    if found.follow_ups:
        await _take_follow_ups(work, connection, found)
    if found.incidents:
        await _find_incidents(work, connection, found)
    if found.creates or found.called:
        await _prepare_creates(work, connection, found)
    work.processes = processes = await store.lock(connection, found.pids, found.whole)
    if found.leases or found.beats:
        await work.leases.load(connection, found.leases, found.beats)
    if found.snapshots:
        work.snapshots = await store.snapshots_at(connection, found.snapshots)
        broken = await chains.first_broken(connection, sorted({pid for pid, _ in found.snapshots}))
        work.broken = {each["pid"]: each["version"] for each in broken}
    if found.definitions:
        await _lock_definitions(work, connection, found)
    if found.holds:
        work.holds = await holds.lock(connection, found.holds)
    if found.new_holds:
        await work.memory.holds.have(connection, found.new_holds)
    if found.undo or found.proceed:
        await _load_undoing(work, connection, found)
    await _load_relations(work, connection, found)
    await _load_calls(work, connection, found)
    await work.barriers.load(connection, work.processes, found.arrivals, found.ticks)
    if found.may_fail:
        await work.memory.incidents.have(connection, found.may_fail)
        if again := [each.pid for each in processes.values() if each.attempt > 1 and each.incident is None]:
            work.retried = await incidents.retried(connection, again)
    wanted = {(each.tenant, each.service, each.service_version) for each in processes.values()}
    for pid, family in work.families.of.items():
        wanted.update((processes[pid].tenant, *service) for service in family.alive)
    for pid, version in found.migrations:
        if (process := processes.get(pid)) is not None:
            wanted.add((process.tenant, process.service, version))
    for tenant, body in found.creates:
        wanted.update((tenant, body.service, version) for version in work.candidates(tenant, body))
    for key in found.called:
        if (life := work.lives.get(key)) is not None:
            wanted.update((*key, version) for version in life.candidates)
    if missing := work.memory.catalog.missing(wanted):
        work.memory.catalog.keep(await service_store.versions(connection, missing))
    if work.memory.catalog.maps:
        await _whole_contexts(work, connection)
    if found.ticks and work.memory.catalog.limits:
        await _whose_start_is_due(work, connection, found.ticks)
    if work.memory.catalog.governs:
        service_of = lambda process: work.entry(process).service  # noqa: E731
        work.turns = await Turns.taken(connection, processes, service_of, _wanted(work, found.creates))


async def _load_undoing(work: "Work", connection: Connection, found: Touched) -> None:
    """What is to be undone, by whom; the next steps of what is being undone, as processes that are to be created."""
    processes = work.processes
    names: set[tuple[str, str]] = set()
    wanted = {pid: version for pid, version in found.undo.items() if pid in processes}
    if wanted:
        below = await work.undoing.plan(connection, wanted)
        names.update((processes[pid].tenant, name) for pid in wanted for name in below)
        own = {(each.tenant, each.service, each.service_version) for each in map(processes.__getitem__, wanted)}
        if missing := work.memory.catalog.missing(own):
            work.memory.catalog.keep(await service_store.versions(connection, missing))
        for key in own:
            if (name := work.memory.catalog.get(*key).service.compensation) is not None:
                names.add((key[0], name))
    owners = [pid for pid in found.proceed if pid in processes]
    if owners:
        await work.undoing.proceed(connection, owners, processes)
        for pid in owners:
            tenant = processes[pid].tenant
            found.creates += [(tenant, request(step)) for step in work.undoing.open[pid] if step.state == "pending"]
            names.update((tenant, step.service) for step in work.undoing.open[pid])
        await work.memory.pids.have(connection, len(found.creates))
        found.may_fail += len(owners)
    if names:
        work.lives |= await lives.found(connection, names)


async def _whole_contexts(work: "Work", connection: Connection) -> None:
    """Of those that may end now and whose output is mapped into a context that is large."""
    wanted = [
        process.pid
        for process in work.processes.values()
        if process.context is None and process.state is RUNNING and work.entry(process).output is not None
    ]
    if wanted:
        work.processes |= await store.lock(connection, wanted, wanted)


async def _whose_start_is_due(work: "Work", connection: Connection, ticks: Iterable[int]) -> None:
    """Whether a worker has begun, where that is what a tick is for."""
    wanted = []
    for pid in ticks:
        process = work.processes.get(pid)
        if process is not None and process.state is RUNNING:
            service = work.entry(process).service
            if service.start_in is not None and service.kind in CLAIMED:
                wanted.append(pid)
    if wanted:
        await work.leases.load(connection, wanted, ())


async def _take_follow_ups(work: "Work", connection: Connection, found: Touched) -> None:
    work.taken = await follow_ups.take(connection, [each.id for each in found.follow_ups])
    work.relatives = await follow_ups.relatives(
        connection, [each for each in found.follow_ups if each.id in work.taken]
    )
    for pids in work.relatives.values():
        found.pids.update(pids)
        found.may_fail += len(pids)
    found.proceed.update(each.pid for each in found.follow_ups if each.kind == COMPENSATE and each.id in work.taken)


async def _find_incidents(work: "Work", connection: Connection, found: Touched) -> None:
    work.incidents = await incidents.found(connection, found.incidents)
    for each in work.incidents.values():
        found.pids.add(each.pid)
        found.whole.add(each.pid)
        if (version := found.incidents[each.id]) is not None:
            found.snapshots.append((each.pid, version))
            found.undo[each.pid] = version
        elif each.id in found.terminated:
            found.undo.setdefault(each.pid, None)


async def _prepare_creates(work: "Work", connection: Connection, found: Touched) -> None:
    await work.memory.pids.have(connection, len(found.creates) + len(found.called))
    if found.called:
        await work.memory.calls.have(connection, len(found.called))
    names = {(tenant, body.service) for tenant, body in found.creates} | set(found.called)
    work.lives = await lives.found(connection, names)
    keyed = {(tenant, body.key) for tenant, body in found.creates if body.key is not None}
    if keyed:
        work.keys = await store.by_keys(connection, keyed)
        found.pids.update(work.keys.values())
        found.whole.update(work.keys.values())


async def _load_relations(work: "Work", connection: Connection, found: Touched) -> None:
    """After the locks: what is counted now stays so, or whoever changes it comes after us with a follow-up."""
    before: set[int] = set()
    parents = []
    for pid, process in work.processes.items():
        if process.has_children:
            parents.append(pid)
        if process.after and (process.state is NEW or process.suspended_from is NEW):
            before.update(process.after)
    if parents:
        await work.families.load(connection, parents, [each for each in found.follow_ups if each.id in work.taken])
    if before:
        work.outcomes = await store.outcomes(connection, before)
    work.outcomes.update({pid: process.outcome for pid, process in work.processes.items()})
    if open_ones := [each.incident for each in work.processes.values() if each.incident is not None]:
        work.incidents |= await incidents.found(connection, open_ones)


async def _lock_definitions(work: "Work", connection: Connection, found: Touched) -> None:
    """The newest versions, the current ones, and what they may become."""
    work.definitions = await service_store.lock_latest(connection, found.definitions)
    work.lives |= await lives.found(connection, found.definitions)
    wanted = {(*key, version) for key in work.definitions for version in work.lives[key].candidates}
    wanted.update(each for each in found.versions if (life := work.lives.get(each[:2])) and each[2] <= life.latest)
    for each in await service_store.versions(connection, sorted(wanted)):
        work.texts[each.tenant, each.name, each.version] = each.definition


async def _load_calls(work: "Work", connection: Connection, found: Touched) -> None:
    taken = [each for each in found.follow_ups if each.id in work.taken]
    if creates := await work.calls.load(connection, work.processes, taken, found.ticks):
        found.creates += creates
        await work.memory.pids.have(connection, len(found.creates))
        names = {(tenant, body.service) for tenant, body in creates}
        work.lives |= await lives.found(connection, names)


def _wanted(work: "Work", creates: Iterable[tuple[str, CreateProcess]]) -> Iterable[tuple[str, Service, Entity | None]]:
    """The services that these name, where there are such."""
    for tenant, body in creates:
        for version in work.candidates(tenant, body):
            yield tenant, work.definition(tenant, body.service, version).service, body.entity
