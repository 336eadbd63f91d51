"""`python -m process_svc serve | migrate`."""

import sys
from functools import partial
from pathlib import Path

from process_svc.settings import Settings


def main() -> None:
    settings = Settings()
    match sys.argv[1:]:
        case ["serve"]:
            from kernel_runtime import logs, supervise

            from process_svc.app import serve

            logs.configure("process-svc", settings.service_replica, settings.log_level)
            supervise.run(partial(serve, settings))
        case ["migrate"]:
            from kernel_runtime.migrations import migrate

            print(migrate(settings.database_url.get_secret_value(), Path(__file__).parent / "migrations" / "versions"))
        case _:
            sys.exit("usage: python -m process_svc serve | migrate")


if __name__ == "__main__":
    main()
