"""A tenant sees and settles its own dead letters; what names no tenant is the default one's."""

import asyncpg
from kernel_runtime import dead_letters
from kernel_runtime.dead_letters import RawMessage, Tenancy
from kernel_runtime.schema import RUNTIME_TABLES

MAIN, BLUE = Tenancy("main", "main"), Tenancy("blue", "main")


async def test_dead_letters_are_kept_apart(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(RUNTIME_TABLES)
        headers = [[("ce_tenant", b"blue")], [("ce_tenant", b"main")], []]
        letters = [
            (RawMessage("process-commands", 0, offset, b"1", b"x", told), "dead", "broken", 0)
            for offset, told in enumerate(headers)
        ]
        await dead_letters.bury(connection, letters, "test")
        blue = await dead_letters.listed(connection, BLUE, ["dead"], 50, None)
        main = await dead_letters.listed(connection, MAIN, ["dead"], 50, None)
        assert [item["offset"] for item in blue] == [0]
        assert [item["offset"] for item in main] == [2, 1]
        id = blue[0]["id"]
        assert await dead_letters.state_of(connection, MAIN, id) is None
        assert not await dead_letters.settle(connection, MAIN, id, replay=True, value=None)
        assert await dead_letters.settle(connection, BLUE, id, replay=True, value=None)
        assert await dead_letters.state_of(connection, BLUE, id) == "replayed"
    finally:
        await connection.close()
