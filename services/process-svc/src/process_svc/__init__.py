"""Owns processes, relations, waits, snapshots, incidents and service definitions: which state a process may enter."""
