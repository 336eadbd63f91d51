"""What the gateway is told from outside."""

from kernel_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    process_svc_urls: str
    resource_svc_urls: str
    scheduler_svc_urls: str
    rules_svc_urls: str
    auth_issuer: str
    auth_audience: str = "kernel"
    auth_jwks: str
    """A file or an http(s) address with the issuer's public keys (JWK set)."""
    max_in_flight: int = 1_000
    """Requests under way at once; more are refused with 503 before anything is read."""
    stream_ring: int = 20_000
    """Records of a topic kept in memory, so that a client that reconnects costs Kafka nothing."""
    stream_queue: int = 1_000
    """Messages that may wait for one client; one that lets more pile up is cut off."""

    @property
    def upstreams(self) -> dict[str, list[str]]:
        """The replicas of each service."""
        lists = {
            "process-svc": self.process_svc_urls,
            "resource-svc": self.resource_svc_urls,
            "scheduler-svc": self.scheduler_svc_urls,
            "rules-svc": self.rules_svc_urls,
        }
        return {
            name: [url.strip().rstrip("/") for url in urls.split(",") if url.strip()] for name, urls in lists.items()
        }
