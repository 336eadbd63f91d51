"""CSV logs: columns found, times read, bad rows named, nothing lost."""

import csv
import gzip
import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_client.eventlog import LogError, read
from kernel_client.eventlog import columns as column_names
from kernel_client.eventlog.values import name, time


def written(folder: Path, text: str | bytes, file: str = "log.csv") -> Path:
    path = folder / file
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


START_AND_END = """case,activity,operator,start,end
b,Check,ann,2024-01-01T10:00:00+00:00,2024-01-01T10:05:00+00:00
a,Check,bob,2024-01-01T09:00:00+00:00,2024-01-01T09:10:00+00:00
a,Pay,,2024-01-01T09:20:00+00:00,2024-01-01T09:21:00+00:00
"""


def test_start_and_end(tmp_path: Path) -> None:
    log = read(written(tmp_path, START_AND_END))
    assert [case.id for case in log.cases] == ["a", "b"]
    assert [(log.activities[task.activity], task.resource, task.duration) for task in log.cases[0].tasks] == [
        ("Check", log.resources.index("bob"), 600),
        ("Pay", -1, 60),
    ]
    assert (log.tasks, log.bad.count, log.estimated, log.span) == (3, 0, 0, 3900)


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    assert read(written(tmp_path, gzip.compress(START_AND_END.encode()), "anything.dat")).tasks == 3


def test_the_first_cases_to_arrive(tmp_path: Path) -> None:
    log = read(written(tmp_path, START_AND_END), cases=1)
    assert [case.id for case in log.cases] == ["a"]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("case:concept:name,concept:name,org:resource,time:timestamp", "case activity resource end"),
        ("Case ID;Activity;Resource;Start Timestamp;Complete Timestamp", "case activity resource start end"),
        ("case_id\tactivity\tstart_time\tend_time", "case activity start end"),
        ("caseid|task|worker|timestamp|lifecycle:transition", "case activity resource end transition"),
        ("case,op_nr,activity,worker,machine,start,end,minutes", "case activity resource start end"),
        ("trace,event,user,start", "case activity resource end"),
        ("\ufeffcase,activity,time", "case activity end"),
    ],
)
def test_usual_column_names(tmp_path: Path, header: str, found: str) -> None:
    log = read(written(tmp_path, header + "\n"))
    assert set(log.columns) == set(found.split())
    assert log.cases == []


def test_named_columns(tmp_path: Path) -> None:
    text = "Vorgang,Schritt,Wer,Bis\n1,Prüfen,Jörg,2024-01-01 10:00\n"
    wanted = column_names.parse("case=Vorgang,activity=Schritt,resource=Wer,end=Bis")
    log = read(written(tmp_path, text), wanted)
    assert (log.activities, log.resources) == (["Prüfen"], ["Jörg"])


@pytest.mark.parametrize(
    ("text", "wanted", "why"),
    [
        ("a,b\n", "", "no column for the case and the activity and the end"),
        ("case,activity,end\n", "case=nr", "there is no column 'nr'"),
        ("case,activity,end\n", "colour=end", "knows case, activity"),
        ("", "", "empty"),
        ("\n", "", "no header"),
    ],
)
def test_a_log_that_cannot_be_read(tmp_path: Path, text: str, wanted: str, why: str) -> None:
    with pytest.raises(LogError, match=why):
        read(written(tmp_path, text), column_names.parse(wanted))


def test_bad_rows_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = (
        b"case,activity,resource,start,end\n"
        b"1,A,x,2024-01-01 10:00,2024-01-01 10:01\n"
        b",A,x,2024-01-01 10:00,2024-01-01 10:01\n"
        b"1,,x,2024-01-01 10:00,2024-01-01 10:01\n"
        b"1,A,x,2024-01-01 10:00,\n"
        b"1,A,x,2024-01-01 10:00,yesterday\n"
        b"1,A,x,2024-01-01 10:02,2024-01-01 10:01\n"
        b"1,A,x\n"
        b"1,\xff\xfe,x,2024-01-01 10:00,2024-01-01 10:01\n"
        b'1,"B\n\n1",x,2024-01-01 10:00,2024-01-01 10:01\n'
        b"1,C,x,2024-01-01 10:00,2024-01-01 10:01\n"
    )
    log = read(written(tmp_path, text))
    assert log.bad.count == 7
    assert [line for line, _ in log.bad.named] == [3, 4, 5, 6, 7, 8, 9]
    told = " | ".join(why for _, why in log.bad.named)
    for why in (
        "no case",
        "no activity",
        "no time",
        "'yesterday' is not a time",
        "before it starts",
        "3 fields",
        "UTF-8",
    ):
        assert why in told
    assert log.activities == ["A", "B 1", "C"]


def test_a_damaged_gzip_gives_what_was_readable(tmp_path: Path) -> None:
    rows = "".join(f"{n},A,x,2024-01-01 10:00,2024-01-01 10:{n % 60:02}\n" for n in range(20_000))
    whole = gzip.compress(("case,activity,resource,start,end\n" + rows).encode())
    log = read(written(tmp_path, whole[: len(whole) // 2]))
    assert 100 < log.tasks < 20_000
    assert "damaged" in log.bad.named[-1][1]


def test_lifecycles_are_paired(tmp_path: Path) -> None:
    text = """case,activity,resource,timestamp,lifecycle:transition
1,A,x,2024-01-01 10:00,schedule
1,A,x,2024-01-01 10:01,start
1,A,x,2024-01-01 10:02,START
1,A,x,2024-01-01 10:05,complete
1,A,y,2024-01-01 10:09,Complete
1,B,y,2024-01-01 11:00,start
"""
    log = read(written(tmp_path, text))
    assert [task.duration for task in log.cases[0].tasks] == [240, 420]
    assert log.bad.named == [(7, "B was started and never completed")]


def test_a_missing_start_is_estimated(tmp_path: Path) -> None:
    text = """case,activity,resource,end
1,A,x,2024-01-01 10:00
1,B,y,2024-01-01 10:30
2,B,y,2024-01-01 10:40
2,B,y,2024-01-03 10:40
3,C,,2024-01-03 11:00
"""
    log = read(written(tmp_path, text))
    assert log.estimated == 5
    durations = {(case.id, index): task.duration for case in log.cases for index, task in enumerate(case.tasks)}
    assert durations["1", 1] == 1800, "since the case's last event"
    assert durations["2", 0] == 600, "since the person's last event"
    assert durations["2", 1] == 8 * 3600, "at most a working day"
    assert durations["3", 0] == 0, "nothing is known"


def test_times_of_all_kinds() -> None:
    zone = timezone(timedelta(hours=2))
    assert time("2011-10-11 13:42:22.688000+02:00") == datetime(2011, 10, 11, 13, 42, 22, 688000, zone).timestamp()
    noon = datetime(2024, 5, 6, 12, 0, tzinfo=UTC).timestamp()
    same = (
        "2024-05-06T12:00:00Z",
        "2024-05-06 12:00",
        "2024/05/06 12:00:00",
        "06-05-2024 12:00",
        "06.05.2024 12:00:00",
    )
    for text in (*same, "06/05/2024 12:00", str(int(noon)), str(int(noon * 1000))):
        assert time(text) == noon, text
    for text in ("", "noon", "2024-13-01", "12", "9999999999999999999999"):
        with pytest.raises(ValueError, match="not a time"):
            time(text)


@given(st.text(max_size=300))
def test_names_fit_the_kernel(text: str) -> None:
    from kernel_contracts.base import Name
    from pydantic import TypeAdapter

    try:
        made = name(text)
    except ValueError:
        return
    assert not made.startswith("=")
    if made:
        TypeAdapter(Name).validate_python(made)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/="), min_size=1, max_size=20).map(
    str.strip
)
ROWS = st.lists(
    st.tuples(
        TEXT.filter(bool),
        TEXT.filter(bool),
        st.integers(0, 10**6),
        st.integers(0, 10**4),
    ),
    max_size=30,
)


@given(rows=ROWS)
def test_every_good_row_becomes_one_task(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int, int]]
) -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["case", "activity", "start", "end"])
    base = 1_700_000_000
    for case, activity, start, duration in rows:
        writer.writerow([case, activity, base + start, base + start + duration])
    log = read(written(tmp_path_factory.mktemp("log"), out.getvalue()))
    assert log.bad.count == 0
    assert log.tasks == len(rows)
    assert sorted(task.duration for case in log.cases for task in case.tasks) == sorted(row[3] for row in rows)
    arrivals = [case.arrival for case in log.cases]
    assert arrivals == sorted(arrivals)
    for case in log.cases:
        starts = [task.start for task in case.tasks]
        assert starts == sorted(starts)


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Never anything but a log or a LogError."""
    folder = tmp_path_factory.mktemp("bytes")
    for head in (b"", b"case,activity,end\n", b"<log>", b"\x1f\x8b\x08"):
        try:
            read(written(folder, head + content))
        except LogError:
            continue
