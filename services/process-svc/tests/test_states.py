"""The table against design.md §5, and its diagram."""

import subprocess
import sys
from pathlib import Path

import pytest
from kernel_contracts.vocabulary import CommandName, Outcome, ProcessState
from process_svc.domain.states import allowed, edge, leads, legal

S = ProcessState
C = CommandName

LEGAL = {
    C.ADMIT: {S.NEW},
    C.DISPATCH: {S.READY},
    C.WAIT: {S.RUNNING},
    C.CALL: {S.RUNNING},
    C.MAP: {S.RUNNING},
    C.ITERATE: {S.RUNNING},
    C.ARRIVE: {S.RUNNING},
    C.RETURN: {S.WAITING},
    C.WAKE: {S.WAITING, S.SUSPENDED},
    C.PREEMPT: {S.RUNNING},
    C.RELEASE: {S.RUNNING},
    C.SUSPEND: {S.NEW, S.READY, S.RUNNING, S.WAITING},
    C.RESUME: {S.SUSPENDED},
    C.COMPLETE: {S.RUNNING},
    C.FAIL: {S.RUNNING},
    C.TIME_OUT: {S.READY, S.RUNNING, S.WAITING},
    C.SKIP: {S.SUSPENDED},
    C.CANCEL: set(S) - {S.TERMINATED},
    C.ROLLBACK: set(S),
    C.RETRY: {S.SUSPENDED},
    C.PRIORITIZE: set(S) - {S.TERMINATED},
    C.ASSIGN: set(S) - {S.TERMINATED},
    C.SET_CONTEXT: set(S) - {S.TERMINATED},
    C.MIGRATE: set(S) - {S.TERMINATED},
    C.CREATE: set(),
}


@pytest.mark.parametrize("command", list(C))
def test_each_command_is_legal_from_these_states_and_no_other(command: CommandName) -> None:
    assert {state for state in S if legal(command, state)} == LEGAL[command]


def test_a_completed_process_is_not_rolled_back() -> None:
    assert not legal(C.ROLLBACK, S.TERMINATED, Outcome.COMPLETED)
    assert legal(C.ROLLBACK, S.TERMINATED, Outcome.FAILED)
    assert allowed(S.TERMINATED, Outcome.COMPLETED) == []


@pytest.mark.parametrize(
    ("origin", "target"),
    [(None, S.READY), (None, S.RUNNING), (S.NEW, S.RUNNING), (S.WAITING, S.RUNNING), (S.TERMINATED, S.RUNNING)],
)
def test_there_is_no_short_cut(origin: ProcessState | None, target: ProcessState) -> None:
    assert not edge(origin, target)


def test_attribute_commands_stay_where_they_are() -> None:
    for state in set(S) - {S.TERMINATED}:
        assert leads(C.PRIORITIZE, state, state)
        assert not any(leads(C.PRIORITIZE, state, other) for other in S if other is not state)


def test_the_page_is_made_from_the_table() -> None:
    tool = Path(__file__).parents[3] / "tools" / "state_diagram.py"
    assert subprocess.run([sys.executable, str(tool), "--check"], check=False).returncode == 0
