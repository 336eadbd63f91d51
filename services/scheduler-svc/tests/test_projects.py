"""Plans ahead: whatever the project, a plan keeps its predecessors and capacities, and is the same for the same chance."""

import zipfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_svc.domain.projects.decoding import Decoder
from scheduler_svc.domain.projects.network import Plan, Project
from scheduler_svc.domain.projects.people import Crew
from scheduler_svc.domain.projects.search import shortest
from scheduler_svc.simulation.projects import Skilled

from .test_simulation import contest


@st.composite
def projects(draw: st.DrawFn) -> Project:
    count = draw(st.integers(1, 9))
    capacities = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return Project(
        tuple(draw(st.integers(0, 6)) for _ in range(count)),
        tuple(tuple(draw(st.integers(0, most)) for most in capacities) for _ in range(count)),
        tuple(capacities),
        tuple(tuple(draw(st.sets(st.integers(0, job - 1), max_size=3))) if job else () for job in range(count)),
    )


def looks(count: int) -> Callable[[], bool]:
    """A budget counted in looks, so that a test gives the same on any machine."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


def keeps_order(project: Project, ends: Sequence[int]) -> None:
    for job, earlier in enumerate(project.before):
        start = ends[job] - project.durations[job]
        assert start >= max((ends[each] for each in earlier), default=0)


def keeps_capacity(project: Project, ends: Sequence[int]) -> None:
    for t in range(max(ends)):
        for index, capacity in enumerate(project.capacities):
            used = sum(
                need[index]
                for need, end, length in zip(project.needs, ends, project.durations, strict=True)
                if end - length <= t < end
            )
            assert used <= capacity


@settings(max_examples=80)
@given(projects(), st.integers(0, 99))
def test_every_schedule_can_be_carried_out(project: Project, seed: int) -> None:
    rng = Random(seed)
    decoder = Decoder(project)
    ranks = [rng.random() for _ in project.durations]
    for plan in (decoder.forward(project.topological), decoder.parallel(ranks)):
        for each in (plan, decoder.justified(plan)):
            keeps_order(project, each[0])
            keeps_capacity(project, each[0])
        assert max(decoder.justified(plan)[0]) <= max(plan[0])
    best, _ = shortest(decoder, Random(seed).random, looks(40))
    keeps_order(project, best)
    keeps_capacity(project, best)
    assert project.bound() <= max(best)
    assert shortest(decoder, Random(seed).random, looks(40))[0] == best


@settings(max_examples=60)
@given(projects(), st.integers(1, 4), st.data())
def test_people_do_one_thing_at_a_time_and_only_what_they_can(
    project: Project, people: int, data: st.DataObject
) -> None:
    can = [data.draw(st.lists(st.integers(0, people - 1), min_size=1, unique=True)) for _ in project.durations]
    crew = Crew(project, can, people)
    ranks = [-float(tail) for tail in project.tails()]
    plans: list[Plan] = [crew.forward(project.topological), crew.parallel(ranks)]
    plans += [crew.justified(plan) for plan in plans]
    plans.append(shortest(crew, Random(1).random, looks(40)))
    for ends, who in plans:
        keeps_order(project, ends)
        assert all(person in can[job] for job, person in enumerate(who))
        for person in range(people):
            jobs = [job for job, doer in enumerate(who) if doer == person and project.durations[job]]
            mine = sorted((ends[job] - project.durations[job], ends[job]) for job in jobs)
            assert all(first[1] <= second[0] for first, second in pairwise(mine))
        assert max(ends) >= crew.bound()


def test_what_can_not_be_carried_out_is_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        Project((1, 1), ((), ()), (), ((1,), (0,)))
    with pytest.raises(ValueError, match="needs more"):
        Project((1,), ((3,),), (2,), ((),))


SM = """\
PRECEDENCE RELATIONS:
jobnr.    #modes  #successors   successors
   1        1          2           2   3
   2        1          1           4
   3        1          1           4
   4        1          0
****************************************
REQUESTS/DURATIONS:
jobnr. mode duration  R 1
----------------------------------------
  1      1     0       0
  2      1     3       2
  3      1     2       2
  4      1     0       0
****************************************
RESOURCEAVAILABILITIES:
  R 1
    3
****************************************
"""
DEF = """\
ResourceID 	 Salary 	 Skills
1	 	 	79.9	 	 Q0: 1 	  Q1: 0
2	 	 	36.3	 	 Q0: 0
==================
TaskID 	 Duration 	 Skill 	 Predecessor IDs
1	 	 	5	 Q0: 0
2	 	 	4	 Q1: 0
3	 	 	2	 Q0: 0	 	1 2
==================
"""


def test_the_doors_of_the_contests(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("x/J301_1.SM", SM)
    (told,) = contest("rcpsp", str(tmp_path / "set.zip"), "--budget-ms", "20")
    assert list(told) == ["j301_1"]
    assert sorted(told["j301_1"][1:3]) in ([0, 2], [0, 3])
    assert told["j301_1"][3] == 5
    (tmp_path / "2_3.def").write_text(DEF)
    for option in (["--online"], ["--budget-ms", "20"], []):
        (told,) = contest("msrcpsp", str(tmp_path), *option)
        assert told["2_3"][:2] == [[0, 2], [0, 1]]
        assert told["2_3"][2][0] == 5
    assert Skilled(DEF).crew().bound() == 7
