"""What resource-svc is told from outside: nothing beyond what every service is."""

from kernel_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    presence_interval: float = 1.0
    """Seconds between looks for operators whose absence has ended."""
