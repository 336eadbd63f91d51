"""`python -m kernel_platform.daemon HOME [OWNER_PID]`: the supervisor of one home, as a process of its own."""

import asyncio
import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from kernel_platform.catalog import SERVICES, Service
from kernel_platform.home import Home
from kernel_platform.identity import Identity
from kernel_platform.supervisor import Supervisor

ANOTHER_RUNS = 3


@contextlib.contextmanager
def sole(home: Home) -> Iterator[bool]:
    """Whether this process is the one supervisor of the home, for as long as the context lasts."""
    with home.lock_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        own = Identity.of(os.getpid())
        assert own is not None
        file.seek(0)
        file.truncate()
        file.write(json.dumps(own.dump()))
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


def main(arguments: Sequence[str], services: Sequence[Service] = SERVICES) -> int:
    home = Home(Path(arguments[0])).make()
    owner = Identity.of(int(arguments[1])) if len(arguments) > 1 else None
    with sole(home) as alone:
        if not alone:
            return ANOTHER_RUNS
        return asyncio.run(_run(home, services, owner))


async def _run(home: Home, services: Sequence[Service], owner: Identity | None) -> int:
    return await Supervisor(home, services, owner).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
