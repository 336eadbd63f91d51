"""What the tests of resource-svc share: its database, and a lane to drive it by."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from .lane import Lane

OpenLane = Callable[[], Awaitable[Lane]]


@pytest.fixture(scope="session")
def service_module() -> str:
    return "resource_svc"


@pytest_asyncio.fixture
async def open_lane(database: str) -> AsyncIterator[OpenLane]:
    """Each call is another replica of the service on the same database."""
    lanes: list[Lane] = []

    async def make() -> Lane:
        lanes.append(await Lane.open(database))
        return lanes[-1]

    yield make
    for lane in lanes:
        await lane.close()


@pytest_asyncio.fixture
async def lane(open_lane: OpenLane) -> Lane:
    return await open_lane()
