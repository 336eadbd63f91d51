"""The worker: functions of yours carry out automatic processes.

    worker = Worker("http://127.0.0.1:8080", token, concurrency=16)

    @worker.service("invoice.create")
    async def create(invoice: Invoice, work: Work) -> Created:
        ...

    worker.run()

Owns nothing: what it holds are leases, which lapse if it dies.
"""

from kernel_client.worker.errors import BusinessError, PoisonError, TransientError, WorkError
from kernel_client.worker.work import Work
from kernel_client.worker.worker import Worker

__all__ = ["BusinessError", "PoisonError", "TransientError", "Work", "WorkError", "Worker"]
