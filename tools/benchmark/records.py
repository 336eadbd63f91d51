"""Records as confluent-kafka hands them over, for benchmarks that drive a service without Kafka."""


class Record:
    def __init__(self, topic: str, key: str, headers: dict[str, str], value: bytes) -> None:
        self._topic, self._key, self._value = topic, key.encode(), value
        self._headers = [(name, text.encode()) for name, text in headers.items()]

    def topic(self) -> str:
        return self._topic

    def key(self) -> bytes:
        return self._key

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def value(self) -> bytes:
        return self._value

    def offset(self) -> int:
        return 0


def headers(id: str, type: str, source: str, **extra: str) -> dict[str, str]:
    return {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_type": type,
        "ce_source": source,
        "ce_time": "2026-11-25T12:00:00.000000+00:00",
        "ce_tenant": "main",
        "ce_depth": "3",
        "content-type": "application/json",
        "ce_correlationid": "0123456789abcdef0123456789abcdef",
        "ce_causationid": "c",
        **extra,
    }
