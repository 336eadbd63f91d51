"""The planner's own code with a virtual clock: what comes to pass is told to `State` as facts, `plan` decides, as in production.

No database, no Kafka, no second scheduler. `python -m scheduler_svc contest ...` (which `kernel contest` calls) is its door.
"""
