"""Topics and consumer groups that belong to one test."""

import asyncio
import secrets

from kernel_platform.kafka import admin_client
from kernel_platform.topics import TopicSpec, declared, ensure_topics


class TestTopics:
    """`await topics(name)` for a declared topic, `await topics.create(name)` for any other; removed after the test."""

    __test__ = False

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = f"t{secrets.token_hex(4)}-"
        self._declared = {spec.name: spec for spec in declared()}
        self._made: list[str] = []

    async def __call__(self, name: str, partitions: int | None = None, config: dict[str, str] | None = None) -> str:
        spec = self._declared[name]
        return await self.create(name, partitions or spec.partitions, {**spec.config, **(config or {})})

    async def create(self, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> str:
        topic = TopicSpec(self.prefix + name, partitions, config or {})
        await asyncio.to_thread(ensure_topics, self.bootstrap, [topic])
        self._made.append(topic.name)
        return topic.name

    async def all(self) -> dict[str, str]:
        """Every declared topic and its -dlq: declared name -> name of this test's own."""
        specs = [TopicSpec(self.prefix + spec.name, spec.partitions, spec.config) for spec in declared()]
        await asyncio.to_thread(ensure_topics, self.bootstrap, specs)
        self._made += [spec.name for spec in specs]
        return {spec.name.removeprefix(self.prefix): spec.name for spec in specs}

    def group(self, name: str) -> str:
        return self.prefix + name

    async def remove(self) -> None:
        if self._made:
            await asyncio.to_thread(_delete, self.bootstrap, self._made)


def _delete(bootstrap: str, names: list[str]) -> None:
    admin = admin_client(bootstrap)
    for future in admin.delete_topics(names, operation_timeout=10).values():
        future.result()
