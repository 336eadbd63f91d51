"""Owns event types, rules and their firings, and the copy of who waits for which event: what follows from an event."""
