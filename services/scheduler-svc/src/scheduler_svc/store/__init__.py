"""All SQL of scheduler-svc: what the planner keeps, how queues are defined, what others read."""
