"""The planner on the public contests: ours beside the baselines and the bound. `make bench-scheduling ARGS="--quick"`.

Runs `kernel contest` under the judges of `../shared/contests` on the data of `../shared/data`, one after the other; what isn't
there is left out. Baselines are those that came with the contests. The last line is one JSON object.
"""

import argparse
import ast
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KERNEL = Path(sys.executable).with_name("kernel")


@dataclass(frozen=True)
class Measure:
    """One row: the lower the better, but for `band`, which is to be within 85 and 95."""

    name: str
    ours: float
    bar: float | None = None
    baselines: str = ""

    @property
    def kept(self) -> bool | None:
        if self.name.endswith("% band"):
            return 85 <= self.ours <= 95
        return None if self.bar is None else self.ours <= self.bar


class Judges:
    def __init__(self, shared: Path, quick: bool) -> None:
        self.contests = shared / "contests"
        self.data = shared / "data"
        self.quick = quick

    def judge(self, script: str, *arguments: Any) -> dict[str, float]:
        command = [sys.executable, str(self.contests / script), *map(str, arguments)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        text = said[: said.rindex("}") + 1]
        return dict(ast.literal_eval(text))

    def online(self, name: str, *source: Any) -> dict[str, float]:
        return self.judge("drive.py", name, *source, "--", KERNEL, "contest", name)

    def plan(self, *arguments: Any) -> str:
        """The file with what `kernel contest` answered."""
        said = subprocess.run([KERNEL, "contest", *map(str, arguments)], capture_output=True, check=True).stdout
        with tempfile.NamedTemporaryFile(suffix=".json", delete=False) as file:
            file.write(said)
        return file.name


def replay(j: Judges) -> Iterator[Measure]:
    for keep in ("070",) if j.quick else ("070", "055"):
        path = j.data / f"bpi2012-workitems/replay_keep{keep}.json.gz"
        if not path.exists():
            continue
        m = j.online("replay", path)
        if keep == "070":
            yield Measure("replay 070 mean wait h", m["mean"], 1.06, "FIFO 1.92, EDD 1.10, SEPT 1.06; bound 0.075")
            yield Measure("replay 070 weighted wait h", m["ww"], 0.80, "priority 0.92, weighted SEPT 0.76; bound 0.076")
            yield Measure("replay 070 due misses %", m["miss"], 5.1, "FIFO 8.9, SEPT 5.0; bound 0.53")
            yield Measure("replay 070 Gini", m["gini"], 0.08, "FIFO .125, SEPT .069")
            yield Measure("replay 070 max wait h", m["mx"], 91, "SEPT 88.8, aged 72.9; bound 72.9")
        else:
            yield Measure("replay 055 mean wait h", m["mean"], 2.9, "FIFO 4.47, SEPT 2.81, aged 2.97")
            yield Measure("replay 055 max wait h", m["mx"], 150, "SEPT 432, aged 148")


EASY = {
    "SDSC-BLUE-a": (3238, 12.0, 1354),
    "SDSC-BLUE-b": (3414, 11.1, 603),
    "KTH": (6351, 86.4, 14805),
    "KTH 10-15k": (8620, 105.5, 14805),
}
LXF = {"SDSC-BLUE-a": (2820, 11.3), "SDSC-BLUE-b": (2547, 6.4), "KTH": (5022, 50.8), "KTH 10-15k": (7509, 69.1)}


def swf(j: Judges) -> Iterator[Measure]:
    kth = j.data / "swf/KTH-SP2-1996-2.1-cln.swf.gz"
    part = ("KTH 10-15k", kth, ("--first", 10_000, "--count", 5_000)) if j.quick else ("KTH", kth, ())
    blue = [(name, j.data / f"swf/{name}.swf.gz", ()) for name in ("SDSC-BLUE-a", "SDSC-BLUE-b")]
    for name, path, options in (*blue, part):
        if path.exists():
            m = j.online("swf", path, *options)
            wait, slowdown, worst = EASY[name]
            yield Measure(f"{name} mean wait s", m["mean_wait"], wait, f"EASY {wait}, LXF {LXF[name][0]}")
            yield Measure(f"{name} slowdown", m["avg_bsld"], slowdown, f"EASY {slowdown}, LXF {LXF[name][1]}")
            yield Measure(f"{name} max slowdown", m["max_bsld"], 2 * worst, f"EASY {worst}")


def shop(j: Judges) -> Iterator[Measure]:
    path = j.contests / "shop_k3.json.gz"
    if path.exists():
        m = j.judge("check_shop.py", "check", path, j.plan("shop", path))
        yield Measure("shop online tardiness h", m["mean_tardiness_h"], 22.1, "FIFO 40.6, slack/op 22.1")
        yield Measure("shop online flow h", m["mean_flow_h"], 104, "FIFO 117.6, SPT 102.8; bound 36.7")
        budget = 5_000 if j.quick else 20_000
        m = j.judge("check_shop.py", "check", path, j.plan("shop", path, "--budget-ms", budget))
        yield Measure(f"shop rolling {budget // 1000} s tardiness h", m["mean_tardiness_h"], 18.5, "best of 150 18.55")
        yield Measure(f"shop rolling {budget // 1000} s flow h", m["mean_flow_h"], None, "best of 150 99.1; bound 36.7")


def rcpsp(j: Judges) -> Iterator[Measure]:
    for name, reference, bars, known in (
        ("j30", "j30opt.sm", (1.8, 0.5), "LFT 5.58, sampled 1.84, CP-SAT 0.04"),
        ("j60", "j60hrs.sm", (3.0, 2.0), "LFT 5.73, sampled 3.06, CP-SAT 1.07"),
    ):
        path = j.data / f"psplib/{name}.sm.zip"
        if not path.exists():
            continue
        for budget, step, bar in ((20, 10 if j.quick else 1, bars[0]), (1_000, 48 if j.quick else 12, bars[1])):
            some = _some(path, step)
            told = j.plan("rcpsp", some, "--budget-ms", budget)
            m = j.judge("check_plan.py", "rcpsp", some, j.data / "psplib" / reference, told)
            yield Measure(f"{name} gap % {budget} ms ({m['instances']})", m["avg_gap"], bar, known)


def _some(path: Path, step: int) -> Path:
    """Every so many instances of a set."""
    if step == 1:
        return path
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        pass
    with zipfile.ZipFile(path) as all, zipfile.ZipFile(file.name, "w") as some:
        for name in sorted(each for each in all.namelist() if each.lower().endswith(".sm"))[::step]:
            some.writestr(name, all.read(name))
    return Path(file.name)


def msrcpsp(j: Judges) -> Iterator[Measure]:
    path = j.data / "imopse-msrcpsp"
    if path.exists():
        m = j.judge("check_plan.py", "msrcpsp", path, j.plan("msrcpsp", path, "--online"))
        yield Measure("msrcpsp online / bound", m["avg_makespan_over_lb"], 1.13, "FIFO 1.185, longest tail 1.128")
        budget = 200 if j.quick else 1_000
        m = j.judge("check_plan.py", "msrcpsp", path, j.plan("msrcpsp", path, "--budget-ms", budget))
        yield Measure(f"msrcpsp {budget} ms / bound", m["avg_makespan_over_lb"], 1.04, "sampled 1.039, CP-SAT 1.007")


def forecast(j: Judges) -> Iterator[Measure]:
    for name, file, day, week, days, best in (
        ("ED", "ed_uihc", 24, 7, 28, (0.706, 0.710)),
        ("calls", "bank_calls", 14, 5, 20, (1.161, 1.161)),
        ("loans", "loan_applications", 24, 7, 28, (0.765, 0.773)),
        ("starts", "bpi2012_workitem_starts", 24, 7, 28, (0.947, 1.005)),
    ):
        path = j.data / f"arrivals-hourly/{file}_hourly.csv.gz"
        if not path.exists():
            continue
        for ahead, known in zip(("day", "week"), best, strict=True):
            told = j.plan("forecast", path, "--day", day, "--per-week", week, "--test-days", days, "--ahead", ahead)
            m = j.judge("check_plan.py", "forecast", path, day, week, days, told)
            yield Measure(f"forecast {name} {ahead} MASE", m["mase"], round(known * 1.02, 3), f"best {known}")
            yield Measure(f"forecast {name} {ahead} % band", m["cover90"], None, "85 to 95")


CONTESTS = {f.__name__: f for f in (replay, swf, shop, rcpsp, msrcpsp, forecast)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where contests/ and data/ are")
    parser.add_argument("--quick", action="store_true", help="a part of each set, short budgets")
    parser.add_argument("--only", default=",".join(CONTESTS), help="some of them, by name")
    options = parser.parse_args()
    judges = Judges(options.shared, options.quick)
    if not judges.contests.exists():
        sys.exit(f"bench-scheduling: there are no judges in {judges.contests}; --shared says where they are")
    rows: list[Measure] = []
    print(f"{'contest':36}{'ours':>11}{'bar':>10}       baselines")
    for name in options.only.split(","):
        begun = time.monotonic()
        for row in CONTESTS[name](judges):
            verdict = {True: "kept", False: "MISSED", None: ""}[row.kept]
            bar = "" if row.bar is None else f"{row.bar:g}"
            print(f"{row.name:36}{row.ours:11.3f}{bar:>10} {verdict:7}{row.baselines}", flush=True)
            rows.append(row)
        print(f"bench-scheduling: {name} {time.monotonic() - begun:.0f} s", file=sys.stderr)
    missed = [row.name for row in rows if row.kept is False]
    print(json.dumps({"missed": missed, **{row.name: round(row.ours, 4) for row in rows}}))


if __name__ == "__main__":
    main()
