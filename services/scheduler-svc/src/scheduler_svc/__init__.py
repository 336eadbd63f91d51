"""Owns queues and ready items: who goes first, on which candidates."""
