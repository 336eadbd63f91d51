"""What rules-svc is told from outside, besides what every service is."""

from kernel_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    firing_days: int = 30
    """Events, firings and outcomes are kept so long; longer than Kafka keeps the events, or one could count twice."""
    failures_kept: int = 200
    """Of each rule, the newest."""
    follow_interval: float = 0.5
    """Seconds between looks at what other replicas changed."""
