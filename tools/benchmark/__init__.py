"""What the benchmarks share: the stack under test, its CPU time, and load over its public doors."""
