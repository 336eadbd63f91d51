"""Python client of Kernel and the `kernel` command.

    async with Kernel("http://127.0.0.1:8080", token) as kernel:
        process = await kernel.processes.create("check", entity={"type": "permit", "id": "P-1"})
        async with kernel.stream(process=process["pid"]) as changes:
            async for change in changes:
                print(change["data"]["state"])

Owns nothing: all state is the kernel's. `client` is the way in, `transport` repeats what may safely be repeated, `errors` are the
server's refusals, `eventlog` reads logs of other systems, `replay` runs them, `workforce` plays people, `cli` is the command.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernel_client.client import Kernel
    from kernel_client.errors import ApiError, ConnectionFailedError, KernelError

__all__ = ["ApiError", "ConnectionFailedError", "Kernel", "KernelError"]

_HOMES = {"Kernel": "client"}


def __getattr__(name: str) -> Any:
    """Loaded at first use, so that the command starts without HTTP libraries where it needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"kernel_client.{_HOMES.get(name, 'errors')}"), name)
