"""Which Postgres and Kafka an installation uses: configured ones, else containers where asked for, else embedded ones."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kernel_platform.databases import DATABASES
from kernel_platform.home import Home, checkout


class Kind(StrEnum):
    CONFIGURED = "configured"
    COMPOSE = "compose"
    EMBEDDED = "embedded"


class BackendError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Backends:
    """The choice, and the addresses that are known before anything is started."""

    postgres: Kind
    kafka: Kind
    admin_dsn: str | None
    service_dsns: Mapping[str, str]
    bootstrap: str | None

    def describe(self) -> list[str]:
        where = "its wheel's binaries" if self.postgres is Kind.EMBEDDED else "see KERNEL_POSTGRES_URL"
        lines = [f"Postgres: {self.postgres} ({where})" if self.postgres is not Kind.COMPOSE else "Postgres: compose"]
        where = "its jars on this machine's Java" if self.kafka is Kind.EMBEDDED else str(self.bootstrap)
        return [*lines, f"Kafka: {self.kafka} ({where})" if self.kafka is not Kind.COMPOSE else "Kafka: compose"]


def choose(environment: Mapping[str, str] = os.environ) -> Backends:
    """From the environment: KERNEL_POSTGRES_URL[_SERVICE], KERNEL_KAFKA_BOOTSTRAP, KERNEL_ENGINE."""
    engine = environment.get("KERNEL_ENGINE") or Kind.EMBEDDED
    if engine not in (Kind.COMPOSE, Kind.EMBEDDED):
        raise BackendError(f"KERNEL_ENGINE is {engine!r}; it may be embedded or compose")
    own = {
        service: dsn
        for service in DATABASES
        if (dsn := environment.get(f"KERNEL_POSTGRES_URL_{service.upper().replace('-', '_')}"))
    }
    admin = environment.get("KERNEL_POSTGRES_URL") or None
    bootstrap = environment.get("KERNEL_KAFKA_BOOTSTRAP") or None
    configured = admin is not None or len(own) == len(DATABASES)
    return Backends(
        postgres=Kind.CONFIGURED if configured else Kind(engine),
        kafka=Kind.CONFIGURED if bootstrap else Kind(engine),
        admin_dsn=admin,
        service_dsns=own,
        bootstrap=bootstrap,
    )


def compose(home: Home, *arguments: str) -> str:
    """`docker compose ...` on the checkout's file; what it printed."""
    root = checkout()
    if root is None or not (root / "docker-compose.yml").is_file():
        raise BackendError("KERNEL_ENGINE=compose needs a checkout with its docker-compose.yml")
    command = ["docker", "compose", "--file", str(root / "docker-compose.yml"), *arguments]
    environment = {**os.environ, "KERNEL_POSTGRES_PASSWORD": home.secret("compose-postgres")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)
    except FileNotFoundError:
        raise BackendError("KERNEL_ENGINE=compose, but there is no `docker` here") from None
    if done.returncode != 0:
        raise BackendError(f"docker compose {' '.join(arguments)} failed: {_last_lines(done.stderr)}")
    return done.stdout.strip()


def compose_postgres(home: Home) -> str:
    """Starts the container and returns its admin DSN."""
    compose(home, "up", "--detach", "--wait", "postgres")
    address = compose(home, "port", "postgres", "5432").replace("0.0.0.0", "127.0.0.1")
    return f"postgresql://postgres:{home.secret('compose-postgres')}@{address}/postgres"


def compose_kafka(home: Home) -> str:
    """Starts the container and returns its bootstrap address for this machine (its listener EXTERNAL, port 9094)."""
    compose(home, "up", "--detach", "--wait", "kafka")
    return compose(home, "port", "kafka", "9094").replace("0.0.0.0", "127.0.0.1")


def _last_lines(text: str, count: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
