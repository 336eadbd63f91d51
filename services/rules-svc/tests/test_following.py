"""A replica knows the rules that another has saved at once, not at its next look."""

import asyncio
from datetime import UTC, datetime

from kernel_contracts.vocabulary import DefinitionKind
from kernel_runtime.database import Database
from kernel_testing import eventually
from rules_svc.book import Definition, Memory
from rules_svc.settings import Settings
from rules_svc.store import batch
from rules_svc.ticker import Ticker

BODY = '{"event": {"type": "order.placed"}, "instructions": [{"do": "emit", "type": "seen"}]}'


async def test_the_rules_of_another_replica(database: str) -> None:
    here = Database(database, name="rules-svc test")
    await here.open()
    memory = Memory()
    settings = Settings(database_url=database, kafka_bootstrap="", internal_token="secret", follow_interval=30)
    ticking = asyncio.create_task(Ticker(here, memory, settings).run())
    try:
        await eventually(lambda: memory.loaded)
        assert not memory.wants("main", "order.placed")
        await asyncio.sleep(0.2)
        rule = Definition("main", DefinitionKind.RULE, "note", 1, BODY, False, datetime.now(UTC), "test")
        async with here.transaction() as connection:
            await batch.save_definitions(connection, [rule], 1)
        await eventually(lambda: memory.wants("main", "order.placed"), timeout=5)
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await here.close()
