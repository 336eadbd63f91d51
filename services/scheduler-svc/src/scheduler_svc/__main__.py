"""`python -m scheduler_svc serve | migrate | contest ...`."""

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["contest"]:
        from scheduler_svc.simulation.command import main as contest

        return contest(arguments[1:])
    from kernel_runtime import logs

    from scheduler_svc.settings import Settings

    if arguments not in (["serve"], ["migrate"]):
        print(__doc__, file=sys.stderr)
        return 2
    settings = Settings()
    logs.configure("scheduler-svc", settings.service_replica, settings.log_level)
    if arguments == ["migrate"]:
        from kernel_runtime.migrations import migrate

        print(migrate(settings.database_url.get_secret_value(), Path(__file__).parent / "migrations" / "versions"))
    else:
        from kernel_runtime import supervise

        from scheduler_svc.app import serve

        supervise.run(lambda stop: serve(settings, stop))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
