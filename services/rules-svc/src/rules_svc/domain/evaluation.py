"""What an event's rules do: `evaluate(rules, event, bind) -> Firings`.

A firing is whole: all of its instructions are computed and checked before any is carried out, so a rule that fails at its third
instruction has done nothing. A rule that fails stops no other; one that fires with `stop` is the last one looked at.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rules_svc.domain.index import applies
from rules_svc.domain.model import ON_A_PROCESS, Action, Bind, Event, Firing, FiringResult, Rule, RuleError, Scope


def evaluate(rules: Iterable[Rule], event: Event, bind: Bind, *, max_depth: int) -> list[Firing]:
    """The firings of `rules` (in their order) for `event`. Rules whose condition does not hold leave no firing.

    What a firing sends is one deeper in the chain of causes than its event. Beyond `max_depth` nothing is sent.
    """
    firings = []
    for rule in rules:
        if not applies(rule, event):
            continue
        firing = _fire(rule, event, bind, max_depth)
        if firing is None:
            continue
        firings.append(firing)
        if rule.stop and firing.result is not FiringResult.FAILED:
            break
    return firings


def _fire(rule: Rule, event: Event, bind: Bind, max_depth: int) -> Firing | None:
    scope = bind(rule.parameters)
    try:
        if not rule.when(scope):
            return None
    except RuleError as error:
        return Firing(rule, FiringResult.FAILED, detail=str(error.within("/when")))
    if event.depth >= max_depth:
        detail = f"This would be link {event.depth + 1} in a chain of causes; {max_depth} are allowed. Rules start each other?"
        return Firing(rule, FiringResult.STOPPED, detail=detail)
    try:
        return Firing(rule, FiringResult.FIRED, tuple(_actions(rule, event, scope)))
    except RuleError as error:
        return Firing(rule, FiringResult.FAILED, detail=str(error))


def _actions(rule: Rule, event: Event, scope: Scope) -> Iterable[Action]:
    for index, step in enumerate(rule.steps):
        try:
            arguments = step.compute(scope)
            if step.do in ON_A_PROCESS:
                arguments = _with_pid(arguments, event)
            step.check(arguments)
        except RuleError as error:
            raise error.within(f"/instructions/{index}") from None
        yield Action(index, step.do, arguments)


def _with_pid(arguments: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    if arguments.get("pid") is not None:
        return arguments
    if event.pid is None:
        raise RuleError("the event has no process; name the pid", "/pid")
    return {**arguments, "pid": event.pid}
