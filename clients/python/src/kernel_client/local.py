"""Where the kernel answers and who we are: from the caller, the environment, or the installation on this machine."""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kernel_client.errors import KernelError

if TYPE_CHECKING:
    from kernel_client.client import Kernel

NO_PLATFORM = "this takes the local platform: pip install 'kernel-client[platform]'"
RENEW_BEFORE = 60.0
TTL = 3600.0


def gateway(url: str | None = None) -> str:
    """The address of the gateway; raises KernelError, saying what to do, where there is none."""
    named = url or os.environ.get("KERNEL_URL")
    if named:
        return named
    try:
        from kernel_platform.home import Home, read_json
    except ImportError:
        raise KernelError(f"no address: say --url or KERNEL_URL ({NO_PLATFORM})") from None
    found = read_json(Home.default().state_file, {}).get("gateway")
    if not found:
        raise KernelError("nothing runs here: `kernel up` starts it, KERNEL_URL names one elsewhere")
    return str(found)


def token(named: str | None = None, *roles: str, operator: str | None = None) -> str | Callable[[], str] | None:
    """The caller's token, KERNEL_TOKEN, or one of the local issuer that renews itself; none elsewhere."""
    given = named or os.environ.get("KERNEL_TOKEN")
    if given:
        return given
    if os.environ.get("KERNEL_URL"):
        return None
    try:
        import kernel_platform.issuer  # noqa: F401
    except ImportError:
        return None
    return LocalToken(roles or ("admin",), operator)


class LocalToken:
    """Tokens of the local issuer, each used until shortly before its end."""

    def __init__(self, roles: tuple[str, ...], operator: str | None = None) -> None:
        self._roles = roles
        self._operator = operator
        self._token = ""
        self._until = 0.0

    def __call__(self) -> str:
        if time.time() > self._until:
            from kernel_platform.home import Home
            from kernel_platform.issuer import mint

            self._token = mint(Home.default(), self._roles, operator=self._operator, ttl=TTL)
            self._until = time.time() + TTL - RENEW_BEFORE
        return self._token


def connect(
    url: str | None = None, with_token: str | None = None, *, patience: float = 3, operator: str | None = None
) -> "Kernel":
    """A client for the kernel that is meant. With `operator`, as that person, where the local issuer answers."""
    from kernel_client.client import Kernel

    roles = ("operator",) if operator is not None else ("admin",)
    return Kernel(gateway(url), token(with_token, *roles, operator=operator), patience=patience)
