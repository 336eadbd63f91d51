"""Owns resources, operators, calendars and allocations: all units of a request or nothing, never more than there are."""
