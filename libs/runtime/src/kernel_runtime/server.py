"""uvicorn as one task among others: signals stay with the supervisor of the process."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn


class Server(uvicorn.Server):
    """Serves `app` until cancelled; then finishes requests that are under way."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="none",
                http="httptools",
                ws="websockets-sansio",
                ws_max_size=65_536,
                ws_per_message_deflate=False,
                ws_ping_interval=15.0,
                lifespan="off",
                access_log=False,
                log_level="warning",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=2,
                server_header=False,
                proxy_headers=False,
                date_header=False,
                backlog=1024,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def run_forever(self) -> None:
        """Where the port is taken, uvicorn says so and exits."""
        serving = asyncio.ensure_future(self.serve())
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.should_exit = True
            await asyncio.wait([serving], timeout=3)
            raise
