"""A worker that makes bills and sends them: `kernel up`, `kernel apply -f examples/worker/design.yaml`, then

kernel worker examples/worker/worker.py:worker
"""

import asyncio
import time

from kernel_client.worker import BusinessError, TransientError, Work, Worker
from pydantic import BaseModel, Field

worker = Worker(concurrency=8)


class Order(BaseModel):
    email: str
    lines: list[float] = Field(min_length=1)


class Bill(BaseModel):
    number: str
    total: float


@worker.service("bill.create")
async def create(order: Order, work: Work) -> Bill:
    """Async: it runs on the loop. The first attempt finds the ledger busy."""
    if sum(order.lines) <= 0:
        raise BusinessError("nothing-to-bill", "the lines add up to nothing")
    work.progress({"step": "booking", "lines": len(order.lines)})
    await asyncio.sleep(0.05)
    if work.attempt == 1:
        raise TransientError("ledger-busy", "the ledger is busy")
    return Bill(number=f"B-{work.pid}", total=sum(order.lines))


@worker.service("bill.send")
def send(bill: dict[str, str], work: Work) -> dict[str, str]:
    """Not async: it runs in a thread."""
    time.sleep(0.05)
    return {"sent_to": bill["email"]}
