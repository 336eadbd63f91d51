"""Owns processes, relations, waits, snapshots and service definitions."""
