"""Working-time arithmetic: what a question costs once a year is made, and what making one costs. `make bench-worktime`."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kernel_worktime import HOUR, Timeline, compile_calendar, first_fit, micros, parse, together

DAYS = ("mon", "tue", "wed", "thu", "fri")
START = micros(datetime(2026, 11, 25, 15, tzinfo=UTC))
YEAR = 365 * 24 * HOUR


def calendar() -> Timeline:
    """Two windows a day with a break, over a company's hours, with leave."""
    company = parse({"time_zone": "Europe/Amsterdam", "weekly": {day: [["07:00", "21:00"]] for day in DAYS}})
    person = {
        "time_zone": "Europe/Amsterdam",
        "weekly": {day: [["09:00", "17:00"], ["18:00", "20:00", 2]] for day in DAYS},
        "breaks": [["12:00", "12:30"]],
        "exceptions": [{"date": f"2027-{month:02}-01", "hours": []} for month in range(1, 13)],
        "leave": [{"from": "2027-07-01", "to": "2027-07-21"}],
        "layers": ["company"],
    }
    return compile_calendar(parse(person), {"company": company}.get)


def microseconds(work: Callable[[], object], seconds: float = 0.5) -> float:
    """The best of several rounds, for each call."""
    work()
    best = float("inf")
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(50):
            work()
        best = min(best, (time.perf_counter() - began) / 50)
    return round(best * 1e6, 2)


def main() -> None:
    one, twenty = calendar(), together(*(calendar() for _ in range(20)))
    began = time.perf_counter()
    calendar().between(START, START + YEAR)
    cold = (time.perf_counter() - began) / 2
    figures = {
        "make_a_year_ms": round(cold * 1e3, 2),
        "add_a_day_us": microseconds(lambda: one.add(START, 8 * HOUR)),
        "add_five_working_years_us": microseconds(lambda: one.add(START, 5 * 2000 * HOUR)),
        "subtract_five_working_years_us": microseconds(lambda: one.subtract(START, 5 * 2000 * HOUR)),
        "between_ten_years_us": microseconds(lambda: one.between(START, START + 10 * YEAR)),
        "next_open_us": microseconds(lambda: one.next_open(START + 9 * HOUR)),
        "windows_of_a_year_us": microseconds(lambda: list(one.windows(START, START + YEAR))),
        "first_fit_30_days_us": microseconds(lambda: first_fit(one.windows(START, START + YEAR // 12), 4 * HOUR)),
        "add_in_20_calendars_us": microseconds(lambda: twenty.add(START, 5 * 1000 * HOUR)),
    }
    for name, value in figures.items():
        print(f"{name:34} {value:>10}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
