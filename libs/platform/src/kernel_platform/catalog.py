"""The services of an installation: how each is started and what it is told."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from kernel_platform.home import Home
from kernel_platform.issuer import AUDIENCE, ISSUER
from kernel_platform.ports import HOST, kept_port
from kernel_platform.spec import ServiceSpec

GATEWAY = "gateway"
LEDGER = "process-svc"
"""Signs checkpoints."""


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of process. With `migrates` its module has a database and `migrate`."""

    name: str
    module: str
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    migrates: bool = True

    @property
    def command(self) -> tuple[str, ...]:
        return self.argv or (sys.executable, "-m", self.module, "serve")

    @property
    def urls_variable(self) -> str:
        return f"KERNEL_{self.name.upper().replace('-', '_')}_URLS"


SERVICES: tuple[Service, ...] = tuple(
    Service(name, name.replace("-", "_"))
    for name in ("process-svc", "resource-svc", "scheduler-svc", "rules-svc", GATEWAY)
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the infrastructure answers."""

    bootstrap: str
    dsns: Mapping[str, str]


def specs(home: Home, services: tuple[Service, ...], desired: Mapping[str, int], at: Addresses) -> list[ServiceSpec]:
    """One spec a replica. Call it while no process of a new replica runs: ports are checked for being free."""
    made: list[ServiceSpec] = []
    urls: dict[str, str] = {}
    for service in sorted(services, key=lambda each: each.name == GATEWAY):
        ports = [_port(home, service.name, replica) for replica in range(1, desired.get(service.name, 1) + 1)]
        urls[service.urls_variable] = ",".join(f"http://{HOST}:{port}" for port in ports)
        for replica, port in enumerate(ports, start=1):
            env = {
                "KERNEL_SERVICE_REPLICA": str(replica),
                "KERNEL_KAFKA_BOOTSTRAP": at.bootstrap,
                "KERNEL_HTTP_HOST": HOST,
                "KERNEL_HTTP_PORT": str(port),
                "KERNEL_INTERNAL_TOKEN": home.secret("internal-token"),
                "KERNEL_ENV": "dev",
                "KERNEL_LOG_LEVEL": os.environ.get("KERNEL_LOG_LEVEL", "INFO"),
                "KERNEL_HOME": str(home.root),
                "PYTHONUNBUFFERED": "1",
                "MALLOC_ARENA_MAX": "2",
            }
            if service.name in at.dsns:
                env["KERNEL_DATABASE_URL"] = at.dsns[service.name]
            if service.name == LEDGER:
                env["KERNEL_CHECKPOINT_KEY_FILE"] = str(home.checkpoint_key())
                env["KERNEL_CHECKPOINT_FILE"] = str(home.checkpoints_file)
            if service.name == GATEWAY:
                env |= {"KERNEL_AUTH_ISSUER": ISSUER, "KERNEL_AUTH_AUDIENCE": AUDIENCE}
                env |= {"KERNEL_AUTH_JWKS": str(home.jwks_file), **urls}
            made.append(ServiceSpec(service.name, service.command, {**env, **service.env}, replica, port))
    return made


_asked: dict[tuple[str, str, int], int] = {}


def _port(home: Home, name: str, replica: int) -> int:
    """Asked of the system once in a supervisor's life: later its own process holds the port."""
    key = (str(home.root), name, replica)
    if key not in _asked:
        _asked[key] = kept_port(home, f"{name}-{replica}")
    return _asked[key]
