"""`python -m resource_svc serve | migrate`."""

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    from kernel_runtime import logs

    from resource_svc.settings import Settings

    if arguments == ["migrate"]:
        from kernel_runtime.migrations import migrate

        settings = Settings()
        logs.configure("resource-svc", settings.service_replica, settings.log_level)
        print(migrate(settings.database_url.get_secret_value(), Path(__file__).parent / "migrations" / "versions"))
        return 0
    if arguments == ["serve"]:
        from kernel_runtime import supervise

        from resource_svc.app import serve

        settings = Settings()
        logs.configure("resource-svc", settings.service_replica, settings.log_level)
        supervise.run(lambda stop: serve(settings, stop))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
