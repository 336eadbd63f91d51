"""Ports on the loopback interface, chosen once for a home and kept across restarts."""

import random
import socket

from kernel_platform.home import Home, read_json, write_json

HOST = "127.0.0.1"

# Below the range that systems take outgoing ports from: a port stays ours while its process restarts.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, taken: frozenset[int] = frozenset()) -> int:
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(_FIRST, _LAST)
        if port not in taken and is_free(port):
            return port


def kept_port(home: Home, name: str) -> int:
    """The port of `name` in this home. Ask while its process does not run: a port that another program took is replaced."""
    path = home.root / "ports.json"
    kept: dict[str, int] = read_json(path, {})
    others = frozenset(port for owner, port in kept.items() if owner != name)
    port = free_port(kept.get(name), others)
    if kept.get(name) != port:
        write_json(path, {**kept, name: port})
    return port
