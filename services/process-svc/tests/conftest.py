from collections.abc import AsyncIterator

import pytest
from kernel_testing.plugin import NewDatabase
from kernel_testing.topics import TestTopics

from .installation import Bus, Service
from .lane import Lane, lane


@pytest.fixture(scope="session")
def service_module() -> str:
    return "process_svc"


@pytest.fixture
async def kernel(database: str) -> AsyncIterator[Lane]:
    """process-svc on a database of this test alone."""
    async with lane(database) as made:
        yield made
        await made.settle()


@pytest.fixture
async def bus(kafka: str, topics: TestTopics) -> AsyncIterator[Bus]:
    await topics.all()
    made = Bus(kafka, topics.prefix)
    yield made
    made.close()


@pytest.fixture
async def service_database(new_database: NewDatabase) -> str:
    return await new_database("process_svc")


@pytest.fixture
async def service(kafka: str, bus: Bus, service_database: str) -> AsyncIterator[Service]:
    """A replica as an OS process, on a database and topics of this test alone."""
    made = await Service(service_database, kafka, bus.prefix).start()
    yield made
    assert await made.stop() == 0
