"""Plans ahead: processes with predecessors, shared capacities, people with skills. Schedules, not dispatch: what could be when.

Durations are whole units of time (the caller's). Randomness and the budget are arguments: `chance` gives a number in [0, 1),
`more` says whether there is time for another look. Without a budget the same input gives the same plan.
"""
