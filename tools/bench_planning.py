"""Decisions of the scheduler's model alone: no database, no Kafka. `make bench-planning ARGS="--ready 100000"`.

Keeps so many READY while operators finish at random and new work arrives; one decision is: an item arrives, is placed, granted,
and its units come back. The last line is one JSON object.
"""

import argparse
import gc
import json
import random
import time
from datetime import UTC, datetime, timedelta

from kernel_contracts.vocabulary import QueuePolicy
from scheduler_svc.domain.demands import Demand, Demands, Need
from scheduler_svc.domain.facts import Definition, QueueSettings, Usage
from scheduler_svc.domain.planning import Placement, plan
from scheduler_svc.domain.queues import Item
from scheduler_svc.domain.state import State

START = datetime(2026, 1, 1, tzinfo=UTC)
ROLES = [f"role{n}" for n in range(20)]


class Owner:
    """Grants what is proposed, takes back what is finished."""

    def __init__(self, state: State, operators: int, rng: random.Random) -> None:
        self.state = state
        self.versions = dict.fromkeys((f"operator{n:04d}" for n in range(operators)), 1)
        for id in self.versions:
            roles = frozenset(rng.sample(ROLES, rng.randint(1, 3)))
            state.defined(Definition("main", id, "operator", True, 1, 0, 1, {}, roles), START)
        self.running: list[tuple[int, str, list[str]]] = []

    def use(self, ids: list[str], used: int) -> list[Usage]:
        told = []
        for id in ids:
            kind, version = "operator", 0
            if id in self.versions:
                version = self.versions[id] = self.versions[id] + 1
            else:
                kind, version = "entity", 1 + (1 - used)
            told.append(Usage(id, kind, 1, kind == "entity", used, 1, version))
        return told

    def grant(self, placement: Placement, now: datetime) -> None:
        ids = [candidates[0] for candidates in placement.candidates]
        item = placement.item
        self.state.granted("main", item.pid, placement.dispatch_id, item.queue, self.use(ids, 1), now)
        self.running.append((item.pid, placement.dispatch_id, ids))

    def finish(self, index: int, now: datetime) -> None:
        self.running[index], self.running[-1] = self.running[-1], self.running[index]
        pid, dispatch, ids = self.running.pop()
        self.state.left(pid, 4, now, ended=True)
        self.state.released("main", pid, dispatch, self.use(ids, 0), "ended", now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready", type=int, default=10_000)
    parser.add_argument("--operators", type=int, default=1_000)
    parser.add_argument("--decisions", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--locks", action="store_true", help="each item needs the lock of its entity as well")
    parser.add_argument("--policy", default="priority", choices=list(QueuePolicy))
    parser.add_argument("--backfill", action="store_true", help="the queue keeps room for the first that finds none")
    options = parser.parse_args()
    rng = random.Random(7)
    state = State()
    state.define(QueueSettings("main", "default", 1, QueuePolicy(options.policy), backfill=options.backfill))
    owner = Owner(state, options.operators, rng)
    shapes = [Demand(Need("operator", roles=(role,))) for role in ROLES]
    shared = [Demands.of((shape,)) for shape in shapes]
    pids = iter(range(1, 10**9))
    now = START

    def arrive() -> None:
        pid, kind = next(pids), rng.randrange(len(ROLES))
        demands = shared[kind]
        if options.locks:
            entity = Demand(Need("entity"), 1, f"entity:case:{rng.randrange(options.ready)}", keep=True)
            demands = Demands.of((shapes[kind], entity))
        service = f"service{kind}"
        state.ready(Item(pid, "main", "default", service, 2, rng.randrange(101), now, demands))

    for _ in range(options.ready):
        arrive()
    for placement in plan(state, now):
        owner.grant(placement, now)
    state.take_changes()
    gc.freeze()
    gc.set_threshold(20_000, 20, 1_000)  # as the service does
    begun = time.process_time()
    made, longest, planning = 0, 0.0, 0.0
    while made < options.decisions:
        now += timedelta(milliseconds=10)
        for _ in range(min(options.batch, len(owner.running))):
            owner.finish(rng.randrange(len(owner.running)), now)
        for _ in range(options.batch):
            arrive()
        at = time.thread_time()
        placements = plan(state, now)
        passed = time.thread_time() - at
        planning += passed
        longest = max(longest, passed)
        for placement in placements:
            owner.grant(placement, now)
        state.take_changes()
        made += len(placements)
    seconds = time.process_time() - begun
    print(
        json.dumps(
            {
                "ready": options.ready,
                "policy": options.policy + (" with backfill" if options.backfill else ""),
                "operators": options.operators,
                "decisions": made,
                "decisions_per_s": round(made / seconds),
                "us_per_lifecycle": round(seconds / made * 1e6, 1),
                "us_per_placement": round(planning / made * 1e6, 1),
                "longest_plan_ms": round(longest * 1000, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
