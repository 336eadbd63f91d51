"""XES logs, read as a stream; what could do harm is refused."""

import gzip
from pathlib import Path

import pytest
from kernel_client.eventlog import LogError, read

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def event(name: str, at: str, *, who: str = "ann", transition: str = "complete", more: str = "") -> str:
    return (
        f'<event><string key="concept:name" value="{name}"/><string key="org:resource" value="{who}"/>'
        f'<date key="time:timestamp" value="{at}"/><string key="lifecycle:transition" value="{transition}"/>{more}</event>\n'
    )


def trace(name: str, *events: str) -> str:
    return f'<trace><string key="concept:name" value="{name}"/>{"".join(events)}</trace>'


def log(folder: Path, *traces: str, head: str = HEAD) -> Path:
    path = folder / "log.xes"
    path.write_text(
        f'{head}<log xes.version="1.0" xmlns="http://www.xes-standard.org/">\n'
        '<global scope="event"><string key="concept:name" value="__INVALID__"/></global>\n'
        f'<string key="concept:name" value="the log"/>{"".join(traces)}</log>'
    )
    return path


def test_lifecycles_are_paired_within_a_trace(tmp_path: Path) -> None:
    nested = '<list key="concept:name"><string key="concept:name" value="inner"/></list>'
    path = log(
        tmp_path,
        trace(
            "one",
            event("A", "2024-01-01T10:00:00+01:00", transition="start", more=nested),
            event("A", "2024-01-01T10:02:00+01:00", more='<string key="cost" value="3"/>'),
        ),
        trace("two", event("B &amp; C", "2024-01-01T08:00:00Z", who="bob")),
    )
    found = read(path)
    assert [case.id for case in found.cases] == ["two", "one"]
    assert (found.activities, found.resources) == (["A", "B & C"], ["ann", "bob"])
    assert [task.duration for task in found.cases[1].tasks] == [120]
    assert found.bad.count == 0


def test_a_trace_without_a_name_has_a_number(tmp_path: Path) -> None:
    nameless = f"<trace>{event('A', '2024-01-01T10:00:00Z')}</trace>"
    found = read(log(tmp_path, trace("one", event("A", "2024-01-01T09:00:00Z")), nameless))
    assert [case.id for case in found.cases] == ["one", "trace 2"]


def test_bad_events_are_named(tmp_path: Path) -> None:
    path = log(
        tmp_path,
        trace("one", event("A", "later"), event("", "2024-01-01T10:00:00Z"), event("B", "2024-01-01T10:00:00Z")),
    )
    found = read(path)
    assert found.tasks == 1
    assert [why for _, why in found.bad.named] == ["end: 'later' is not a time", "no activity"]
    assert [line for line, _ in found.bad.named] == [4, 5]


def test_a_broken_end_gives_what_came_before(tmp_path: Path) -> None:
    path = log(tmp_path, *(trace(str(n), event("A", "2024-01-01T10:00:00Z")) for n in range(50)))
    whole = path.read_bytes()
    path.write_bytes(gzip.compress(whole[: len(whole) * 3 // 4]))
    found = read(path)
    assert 30 < len(found.cases) < 50
    assert "not well-formed" in found.bad.named[-1][1]


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE log [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE log [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE log [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]>',
    ],
)
def test_entities_are_refused(tmp_path: Path, declaration: str) -> None:
    with pytest.raises(LogError, match=r"entities|refers"):
        read(log(tmp_path, trace("one", event("A", "2024-01-01T10:00:00Z")), head=HEAD + declaration))


def test_memory_stays_small_on_a_long_log(tmp_path: Path) -> None:
    import tracemalloc

    path = log(
        tmp_path, *(trace(str(n), *(event("A", "2024-01-01T10:00:00Z") for _ in range(20))) for n in range(2000))
    )
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tasks == 40_000
    assert peak < 40 * 2**20
