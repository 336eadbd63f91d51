"""Owns resources, operators and allocations: all units of a request or nothing."""
