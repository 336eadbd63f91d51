"""Apache Kafka, one KRaft node, run from its jars on whatever Java there is."""

import asyncio
import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kernel_platform.home import Home
from kernel_platform.java import find_java
from kernel_platform.ports import HOST
from kernel_platform.spec import ServiceSpec

SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "metadata.max.idle.interval.ms": "5000",
    "broker.heartbeat.interval.ms": "1000",
    "broker.session.timeout.ms": "3000",
    "num.network.threads": "2",
    "num.io.threads": "3",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.segment.bytes": "16777216",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.segment.bytes": "134217728",
    "log.index.size.max.bytes": "2097152",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.retention.check.interval.ms": "300000",
    "message.max.bytes": "4194304",
}
"""One node for one small machine: few threads, no waiting for a second broker, a cleaner that fits the heap.

A killed broker can register again only when its session has ended: the default of 9 s would be what a restart takes.
"""

LOG4J = """Configuration:
  Appenders:
    Console: {name: out, PatternLayout: {pattern: "%d{ISO8601} %p %c{1}: %m%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: out}}
    Logger:
      - {name: kafka.server.KafkaRaftServer, level: INFO}
"""


@dataclass(frozen=True, slots=True)
class Kafka:
    """One broker with its data below `root`."""

    root: Path
    port: int
    controller_port: int
    jars: Sequence[Path]
    settings: Mapping[str, str] = field(default_factory=dict)
    short_lived: bool = False
    """True compiles less: it is up sooner, and needs nearly twice the CPU for each message later."""

    @classmethod
    def at(cls, home: Home, port: int, controller_port: int, jars: Sequence[Path]) -> "Kafka":
        return cls(home.kafka, port, controller_port, jars)

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def spec(self) -> ServiceSpec:
        options: tuple[str, ...] = (
            "-Xms96m",
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
        )
        options += ("-XX:TieredStopAtLevel=1",) if self.short_lived else ()
        classpath = ":".join(str(jar) for jar in self.jars)
        logging = f"-Dlog4j2.configurationFile={self.root / 'log4j2.yaml'}"
        properties = str(self.root / "server.properties")
        return ServiceSpec(
            "kafka",
            (str(find_java()), *options, logging, "-cp", classpath, "kafka.Kafka", properties),
            port=self.port,
            ready=self.answers,
            before_start=self.prepare,
            stop_timeout=20,
        )

    def prepare(self) -> None:
        """Writes the settings, and formats the log folder where it is new.

        Formatting is one small file; the storage tool would start a second Java for it.
        """
        data = self.root / "data"
        data.mkdir(parents=True, exist_ok=True)
        values = {
            **SETTINGS,
            "log.dirs": str(data),
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            **self.settings,
        }
        (self.root / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        (self.root / "log4j2.yaml").write_text(LOG4J)
        meta = data / "meta.properties"
        if not meta.is_file():
            temporary = meta.with_suffix(".new")
            temporary.write_text(f"version=1\nnode.id=1\ncluster.id={_kafka_id()}\ndirectory.id={_kafka_id()}\n")
            temporary.replace(meta)

    async def answers(self) -> bool:
        return await answers(self.bootstrap)


def _kafka_id() -> str:
    """A UUID as Kafka writes it; one that begins with a dash would read as an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text


def admin_client(bootstrap: str) -> AdminClient:
    """A client that looks for its broker again quickly, and keeps quiet while there is none."""
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        "log_level": 0,
        "broker.address.family": "v4" if bootstrap.startswith(HOST) else "any",
    }
    return AdminClient(settings, logger=None)


async def answers(bootstrap: str, timeout: float = 2.0) -> bool:
    """Whether a broker gives its metadata there."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
    except (OSError, TimeoutError):
        return False
    return await asyncio.to_thread(_answers, bootstrap, timeout)


def _answers(bootstrap: str, timeout: float) -> bool:
    try:
        return bool(admin_client(bootstrap).list_topics(timeout=timeout).brokers)
    except KafkaException:
        return False
