"""What process-svc is told besides what every service is."""

from kernel_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    ticker_interval: float = 0.5
    """Seconds between looks at what time has made due."""
