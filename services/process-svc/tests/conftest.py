from collections.abc import AsyncIterator

import pytest

from .lane import Lane, lane


@pytest.fixture(scope="session")
def service_module() -> str:
    return "process_svc"


@pytest.fixture
async def kernel(database: str) -> AsyncIterator[Lane]:
    """process-svc on a database of this test alone; every test must leave it without a breach."""
    async with lane(database) as made:
        yield made
        await made.settle()
