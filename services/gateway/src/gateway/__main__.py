"""`python -m gateway serve | migrate`."""

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    from kernel_runtime import logs
    from kernel_runtime.settings import ServiceSettings

    if arguments == ["migrate"]:
        from kernel_runtime.migrations import migrate

        settings = ServiceSettings()
        logs.configure("gateway", settings.service_replica, settings.log_level)
        print(migrate(settings.database_url.get_secret_value(), Path(__file__).parent / "migrations" / "versions"))
        return 0
    if arguments == ["serve"]:
        from kernel_runtime import supervise

        from gateway.app import serve
        from gateway.settings import Settings

        own = Settings()
        logs.configure("gateway", own.service_replica, own.log_level)
        supervise.run(lambda stop: serve(own, stop))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
