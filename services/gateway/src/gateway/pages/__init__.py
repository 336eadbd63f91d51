"""The documentation pages: ours alone, nothing comes from another host."""

from collections.abc import Mapping
from pathlib import Path

from kernel_runtime.http import Receive, Scope, Send
from starlette.types import ASGIApp

from gateway.reply import Reply, send_reply

_FOLDER = Path(__file__).parent
_FILES = {
    "/docs": ("docs.html", b"text/html; charset=utf-8"),
    "/docs/docs.js": ("docs.js", b"text/javascript; charset=utf-8"),
    "/docs/docs.css": ("docs.css", b"text/css; charset=utf-8"),
}
_SAFE = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


def pages() -> Mapping[str, ASGIApp]:
    """By path."""
    return {
        path: fixed(Reply(200, (_FOLDER / name).read_bytes(), [(b"content-type", kind), *_SAFE]))
        for path, (name, kind) in _FILES.items()
    }


def fixed(reply: Reply) -> ASGIApp:
    """Always the same answer."""

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send_reply(reply, send)

    return app
