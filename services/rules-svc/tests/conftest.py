"""rules-svc as an OS process on a database and topics of the test's own, and Kafka as its neighbours see it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from kernel_testing.plugin import NewDatabase
from kernel_testing.topics import TestTopics

from .installation import Bus, RulesService


@pytest.fixture(scope="session")
def service_module() -> str:
    return "rules_svc"


@pytest_asyncio.fixture
async def bus(kafka: str, topics: TestTopics) -> AsyncIterator[Bus]:
    await topics.all()
    bus = Bus(kafka, topics.prefix)
    yield bus
    bus.close()


@pytest_asyncio.fixture
async def service(kafka: str, bus: Bus, new_database: NewDatabase) -> AsyncIterator[RulesService]:
    service = RulesService(await new_database("rules_svc"), kafka, bus.prefix)
    await service.start()
    yield service
    await service.stop()
