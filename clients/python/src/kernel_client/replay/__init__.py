"""Runs the cases of an event log as live processes: `plan` makes the design, `run` plays it, `report` tells how it went.

Only the first activity of a case is started from here, when the case arrives. The next is started by the kernel, by a rule, when
the one before completes; who does it and when is the scheduler's decision. Here it is completed when its logged time has passed.
"""
