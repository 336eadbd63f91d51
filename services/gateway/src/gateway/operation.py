"""What the gateway offers: each operation once, with its address, its documentation and who answers it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

from pydantic import BaseModel

from gateway.auth.principal import Principal
from gateway.proxy import Proxy
from gateway.reply import Reply

KIB, MIB = 1024, 1024 * 1024

JSON = ("application/json",)
MERGE_PATCH = ("application/merge-patch+json", "application/json")
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
CLOUD_EVENTS = ("application/cloudevents+json", "application/cloudevents-batch+json", "application/json")


@dataclass(frozen=True, slots=True)
class Body:
    """What an operation takes. `examples` maps a name to a value."""

    model: type[BaseModel] | Mapping[str, Any]
    """A model, or a JSON Schema where none fits."""
    examples: Mapping[str, Any]
    media: Sequence[str] = JSON
    limit: int = MIB
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation gives where it succeeds."""

    description: str
    model: type[BaseModel] | Mapping[str, Any] | None = None
    example: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter in the query."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(slots=True)
class Call:
    """One request that was let in, for an operation that the gateway answers itself."""

    principal: Principal
    params: Mapping[str, str]
    query: str
    content_type: str
    body: bytes
    headers: dict[str, str]
    """For the services: whose call it is, request id, trace, idempotency key."""
    proxy: Proxy

    def argument(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for key, value in parse_qsl(self.query, keep_blank_values=True) if key == name), None)

    async def ask(
        self,
        service: str,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        keyed: bool = True,
        timeout: float | None = None,
    ) -> Reply:
        """What a service says; the path is to be encoded already. `keyed`: with the caller's Idempotency-Key."""
        headers = self.headers if keyed else {k: v for k, v in self.headers.items() if k != "idempotency-key"}
        if body:
            headers = {**headers, "content-type": "application/json"}
        return await self.proxy.send(service, method, path, headers, body, timeout=timeout)

    def flag(self, name: str) -> bool:
        return (self.argument(name) or "").lower() in ("true", "1", "yes")


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path: forwarded to the `owner` as it comes, or answered by the `handler`."""

    method: str
    path: str
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    owner: str | None = None
    handler: Handler | None = None
    body: Body | None = None
    query: Sequence[Query] = ()
    refuses: Sequence[int] = ()
    """Statuses of problems that it may answer besides those that every operation may."""
    description: str = ""
    streams: bool = False
    """The owner's answer is passed on as it comes, however large."""
    lasting: bool = False
    """It waits for something to happen: it doesn't count as under way, and ends when its client goes away."""

    @property
    def key(self) -> str:
        """As the policy table names it."""
        return f"{self.method} {self.path}"


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
