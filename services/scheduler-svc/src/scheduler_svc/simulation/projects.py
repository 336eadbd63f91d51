"""Project instances: PSPLIB's `.sm` (activities and shared capacities), iMOPSE's `.def` (people with skills).

Plans ahead come from `domain/projects`; the online dispatcher is `State` and `plan`, told instant by instant what is ready.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from zipfile import ZipFile

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.demands import Demand, Demands, Need
from scheduler_svc.domain.facts import QueueSettings
from scheduler_svc.domain.projects.decoding import Decoder
from scheduler_svc.domain.projects.network import Plan, Project, Scheme
from scheduler_svc.domain.projects.people import Crew
from scheduler_svc.domain.projects.search import shortest
from scheduler_svc.domain.queues import Item
from scheduler_svc.simulation.world import QUEUE, TENANT, Unit, World, at

SEED = 1


def budget(milliseconds: float | None) -> Callable[[], bool]:
    """Whether there is CPU time left of so much from now; without a budget there is none after the first schedule."""
    if milliseconds is None:
        return lambda: False
    end = time.process_time() + milliseconds / 1000
    return lambda: time.process_time() < end


def rcpsp(archive: Path, milliseconds: float | None) -> dict[str, list[int]]:
    """The start of each job, by instance."""
    made = {}
    with ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            if name.lower().endswith(".sm"):
                more = budget(milliseconds)
                project = read_sm(files.read(name).decode(errors="replace"))
                ends, _ = planned(Decoder(project), more)
                starts = [end - length for end, length in zip(ends, project.durations, strict=True)]
                made[name.rsplit("/", 1)[-1].lower().removesuffix(".sm")] = starts
    return made


def msrcpsp(folder: Path, milliseconds: float | None, *, online: bool) -> dict[str, list[tuple[int, int]]]:
    """(start, resource from 1) of each task, by instance."""
    made = {}
    for path in sorted(folder.glob("*.def")):
        more = budget(milliseconds)
        skilled = Skilled(path.read_text(errors="replace"))
        ends, who = skilled.dispatched() if online else planned(skilled.crew(), more)
        made[path.name.removesuffix(".def")] = [
            (end - length, person + 1) for end, length, person in zip(ends, skilled.project.durations, who, strict=True)
        ]
    return made


def planned(scheme: Scheme, more: Callable[[], bool]) -> Plan:
    return shortest(scheme, Random(SEED).random, more)


def read_sm(text: str) -> Project:
    lines = text.split("\n")

    def line_of(word: str) -> int:
        return next(index for index, line in enumerate(lines) if line.startswith(word))

    precedence, requests, capacity = map(line_of, ("PRECEDENCE", "REQUESTS", "RESOURCEAVAIL"))
    after: dict[int, list[int]] = {}
    for line in lines[precedence + 2 : requests - 1]:
        numbers = [int(number) for number in line.split()]
        if len(numbers) >= 3:
            after[numbers[0]] = numbers[3 : 3 + numbers[2]]
    asked: dict[int, list[int]] = {}
    for line in lines[requests + 3 : capacity - 1]:
        words = line.split()
        if len(words) >= 4 and words[0].isdigit():
            asked[int(words[0])] = [int(word) for word in words[2:]]
    jobs = sorted(asked)
    before: dict[int, list[int]] = {job: [] for job in jobs}
    for job, later in after.items():
        for each in later:
            before[each].append(job - 1)
    return Project(
        tuple(asked[job][0] for job in jobs),
        tuple(tuple(asked[job][1:]) for job in jobs),
        tuple(int(word) for word in lines[capacity + 2].split()),
        tuple(tuple(before[job]) for job in jobs),
    )


class Skilled:
    """An iMOPSE instance."""

    def __init__(self, text: str) -> None:
        self.skills: list[dict[str, int]] = []
        needs: list[tuple[str, int]] = []
        durations: list[int] = []
        before: list[tuple[int, ...]] = []
        part = ""
        for line in text.split("\n"):
            if line.startswith(("ResourceID", "TaskID")):
                part = line.split()[0]
            elif line.startswith("==="):
                part = ""
            elif part == "ResourceID" and line.strip():
                self.skills.append({name: int(level) for name, level in re.findall(r"(Q\d+):\s*(\d+)", line)})
            elif part == "TaskID" and line.strip():
                found = re.match(r"\s*\d+\s+(\d+)\s+(Q\d+):\s*(\d+)\s*(.*)", line)
                if found is None:
                    raise ValueError(f"not a task: {line!r}")
                durations.append(int(found[1]))
                needs.append((found[2], int(found[3])))
                before.append(tuple(int(word) - 1 for word in found[4].split()))
        self.needs = needs
        self.project = Project(tuple(durations), ((),) * len(durations), (), tuple(before))

    def crew(self) -> Crew:
        can = [
            [person for person, skills in enumerate(self.skills) if skills.get(name, -1) >= level]
            for name, level in self.needs
        ]
        return Crew(self.project, can, len(self.skills))

    def dispatched(self) -> Plan:
        """A task is READY when those before it are done; its deadline is computed back from that of its whole chain."""
        project = self.project
        world = World(QueueSettings(TENANT, QUEUE, 1, QueuePolicy.EDF))
        for person, skills in enumerate(self.skills):
            world.tell(Unit(f"{person:06d}", "operator", skills=skills), 0)
        tails = project.tails()
        horizon = max(tails, default=0)
        waits = [len(earlier) for earlier in project.before]
        ready = [job for job in range(len(waits)) if not waits[job]]
        ends, who = [0] * len(waits), [0] * len(waits)
        running: list[tuple[int, int]] = []
        now, left = 0, len(waits)
        while left:
            for job in ready:
                need = Need("operator", skills=(self.needs[job],))
                length = project.durations[job]
                due = at(horizon - tails[job] + length)
                demands = Demands.of((Demand(need),))
                world.arrive(
                    Item(job + 1, TENANT, QUEUE, "task", 1, 50, at(now), demands, due=due, expected=float(length))
                )
            for placement in world.plan(now):
                job = placement.item.pid - 1
                ends[job], who[job] = now + project.durations[job], int(placement.candidates[0][0])
                heappush(running, (ends[job], job))
                left -= 1
            ready = []
            now = running[0][0]
            while running and running[0][0] == now:
                job = heappop(running)[1]
                world.end(job + 1, now)
                for each in project.after[job]:
                    waits[each] -= 1
                    if not waits[each]:
                        ready.append(each)
        return ends, who
