"""What a service is told from outside: environment variables with the prefix KERNEL_."""

import socket
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Common to all services; a service adds its own by inheriting."""

    model_config = SettingsConfigDict(env_prefix="KERNEL_", env_nested_delimiter="__", extra="ignore")

    database_url: SecretStr
    kafka_bootstrap: str
    http_host: str = "127.0.0.1"
    http_port: int = 0
    service_replica: int = 1
    internal_token: SecretStr = SecretStr("")
    env: Literal["dev", "production"] = "production"
    log_level: str = "INFO"
    default_tenant: str = "main"
    topic_prefix: str = ""
    """Before the names of all topics and consumer groups: several installations on one Kafka."""
    batch_size: int = 500
    queue_size: int = 5_000
    outbox_limit: int = 100_000
    """More unpublished messages than this, and new commands are refused with 503."""
    attempts: int = 5
    """How often a message from Kafka is tried before it becomes a dead letter."""
    lease_ttl: float = 5.0
    """Seconds. A holder that does not renew in this time loses what it holds."""

    def member(self, service: str) -> str:
        """The name of this replica, unlike that of any other: leases and consumer groups go by it. Stable is better.

        Where KERNEL_SERVICE_REPLICA isn't set (containers), the host's name tells replicas apart.
        """
        if "service_replica" in self.model_fields_set:
            return f"{service}-{self.service_replica}"
        host = socket.gethostname()
        return host if host.startswith(f"{service}-") else f"{service}-{host}"

    def refuse_unsafe(self) -> None:
        """Raises where a production service would be open to everybody."""
        if self.env == "production" and not self.internal_token.get_secret_value():
            raise RuntimeError("KERNEL_INTERNAL_TOKEN is empty: in production no service starts without it")
