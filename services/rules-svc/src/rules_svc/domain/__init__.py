"""Which rules an event matches, what they do, and what an expression may cost: pure functions over frozen values."""
