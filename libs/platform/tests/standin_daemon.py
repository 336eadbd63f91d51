"""The real supervisor over stand-in services: `python standin_daemon.py HOME [OWNER]`; CRASH=name makes that one crash."""

import os
import sys
from pathlib import Path

from kernel_platform.catalog import SERVICES, Service
from kernel_platform.daemon import main

STANDIN = str(Path(__file__).with_name("standin.py"))


def standin(name: str) -> Service:
    crash = ("crash",) if os.environ.get("CRASH") == name else ()
    return Service(name, "", (sys.executable, STANDIN, *crash), migrates=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], [standin(service.name) for service in SERVICES]))
