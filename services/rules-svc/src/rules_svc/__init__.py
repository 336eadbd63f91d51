"""Owns event types, rules and firings: what follows from an event."""
