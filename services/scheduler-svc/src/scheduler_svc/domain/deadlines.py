"""The deadline of a step, computed back from the deadline of its whole chain."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt


def step_due(ready: float, due: float, lengths: Sequence[float]) -> float:
    """When the first of these steps is to be done, so that the last is by `due`: ready + its length + its share of the slack.

    `lengths`: what this step and those after it take. The share is one part in the root of their number: more than an equal
    share, for steps to come find their resources free more often than not; less than all of it, or the last step had none. The
    same where the slack is negative, so of late chains those with little left go first. Units are the caller's.
    """
    slack = due - ready - sum(lengths)
    return ready + lengths[0] + slack / sqrt(len(lengths))
