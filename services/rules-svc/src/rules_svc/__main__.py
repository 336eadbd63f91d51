"""`python -m rules_svc serve | migrate`."""

import sys
from functools import partial
from pathlib import Path

from rules_svc.settings import Settings


def main() -> None:
    match sys.argv[1:]:
        case ["migrate"]:
            from kernel_runtime.migrations import migrate

            url = Settings().database_url.get_secret_value()
            print(migrate(url, Path(__file__).parent / "migrations" / "versions"))
        case ["serve"]:
            from kernel_runtime.supervise import run

            from rules_svc.app import serve

            run(partial(serve, settings=Settings()))
        case _:
            sys.exit("usage: python -m rules_svc serve | migrate")


if __name__ == "__main__":
    main()
