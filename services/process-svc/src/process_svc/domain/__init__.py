"""What may become of a process: pure functions over frozen values. No I/O, no clock, no randomness."""
