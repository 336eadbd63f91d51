"""The words, messages and topics that the services agree on.

Owns: `vocabulary` (types), `envelope` (CloudEvents headers), `message_types`, `topics` (the one page of the bus), and
one file of models per owning service. A command's shape belongs to its receiver, an event's to its sender.
"""
