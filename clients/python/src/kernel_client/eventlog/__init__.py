"""Event logs of other systems, XES or CSV, gzipped or not: who did what on which case, and for how long.

`read(path)` gives the log by cases in order of arrival. Rows come from `csv_rows` or `xes_rows` one at a time; `collect`
makes tasks of starts and completions and groups them. What can't be used is counted and named by its line; the rest goes on.
"""

from kernel_client.eventlog.collect import read
from kernel_client.eventlog.model import BadRows, Case, Log, LogError, Task

__all__ = ["BadRows", "Case", "Log", "LogError", "Task", "read"]
