"""The words, messages and topics that the services agree on."""
