"""What process-svc is told besides what every service is."""

from kernel_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    tree_limit: int = 10_000
    """Processes of one family that are shown at once."""
