"""Who goes first, on which candidates: a model of queues, items and resources, and plans over it. Pure: `now` is an argument.

The model is incremental: an event touches only the buckets that it concerns, a plan looks only at what may have become
possible. It changes in place, by `State`'s methods alone, and holds nothing that is not derived from what `State` was given,
in any process and after any restart: the same events give the same plan.
"""
