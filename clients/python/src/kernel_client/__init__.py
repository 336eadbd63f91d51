"""Python client, worker and the kernel command."""
