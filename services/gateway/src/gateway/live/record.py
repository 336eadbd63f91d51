"""One record of the bus, decoded no further than somebody asks."""

from typing import Any

import orjson

ID_AT = len('{"id":"')
"""Where the id begins in a message."""


class Record:
    """Headers and body are read at their first use; then every subscriber shares them."""

    __slots__ = ("_data", "_headers", "_message", "_told", "_value", "offset", "partition")

    def __init__(self, message: Any) -> None:
        self._message = message
        self._headers: dict[str, bytes] | None = None
        self._data: dict[str, Any] | None = None
        self._told: tuple[str, bytes] | None = None
        self._value: bytes = message.value() or b"null"
        self.partition: int = message.partition()
        self.offset: int = message.offset()

    @property
    def size(self) -> int:
        return len(self._value) + 600

    @property
    def key(self) -> bytes:
        return self._message.key() or b""

    def header(self, name: str) -> str:
        if self._headers is None:
            self._headers = {key: value for key, value in self._message.headers() or () if value is not None}
        return self._headers.get(name, b"").decode("utf-8", "replace")

    @property
    def data(self) -> dict[str, Any]:
        """The body; empty where it is no JSON object (a garbled record helps nobody)."""
        if self._data is None:
            try:
                value = orjson.loads(self._value)
            except orjson.JSONDecodeError:
                value = None
            self._data = value if isinstance(value, dict) else {}
        return self._data

    def message(self, id: str, data: dict[str, Any] | None = None) -> bytes:
        """What the client gets, on one line; `data` instead of the record's own body. Clients alike share the bytes."""
        if data is None and self._told is not None and self._told[0] == id:
            return self._told[1]
        body = orjson.Fragment(self._value) if data is None and b"\n" not in self._value else data or self.data
        told = orjson.dumps({"id": id, "type": self.header("ce_type"), "time": self.header("ce_time"), "data": body})
        if data is None:
            self._told = (id, told)
        return told
