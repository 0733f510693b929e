"""How far the next run is from its plan, once past runs are known: `python -m bench.learning [EXAMPLE ...]`.

Each example is run several times in a folder of its own, with event logs of its own. The first plan knows what the
files say, each later one what the runs before it saw. On real Flux wherever `flux` is on the PATH, else on the embedded
scheduler.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from streamflow_fluxop.events.reading import logs, read_events
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.report.summary import FleetReport, summary

EXAMPLES = Path(__file__).parents[1] / "cwl-examples"


def main() -> None:
    """Run the examples and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.learning", description=__doc__)
    parser.add_argument("examples", nargs="*", help="names; all that there are by default")
    parser.add_argument("--runs", type=int, default=3, help="of each example (3)")
    options = parser.parse_args()
    names = options.examples or sorted(p.parent.name for p in EXAMPLES.glob("*/streamflow.yml"))
    print("| example | run | makespan planned | actual | off by | cost planned | actual | off by |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="fluxop-bench-") as folder:
            for number, fleet in enumerate(runs_of(name, Path(folder), options.runs), 1):
                print(f"| {name} | {number} | {row(fleet)} |", flush=True)


def runs_of(name: str, folder: Path, count: int) -> Iterator[FleetReport]:
    """Run an example several times; the report of each run's fleet.

    Args:
        name: of the example.
        folder: an empty one.
        count: how many times.
    """
    shutil.copytree(EXAMPLES, folder / "examples")
    environment = {**os.environ, "FLUXOP_RUNS": str(folder / "runs"), "HOME": str(folder)}
    command = [str(Path(sys.executable).parent / "streamflow"), "run", "--outdir", str(folder / "out")]
    for _ in range(count):
        done = subprocess.run(
            [*command, "streamflow.yml"],
            cwd=folder / "examples" / name,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        view = RunView()
        view.take(read_events(logs(folder / "runs")[0]))
        yield summary(view, view.at).fleets[0]


def row(fleet: FleetReport) -> str:
    """Planned and actual makespan and cost, and how far they are apart."""
    assert fleet.planned is not None
    cells = []
    for planned, actual, unit in (
        (fleet.planned.makespan, fleet.actual.makespan, " s"),
        (fleet.planned.cost, fleet.actual.cost, ""),
    ):
        cells += [f"{planned:.3g}{unit}", f"{actual:.3g}{unit}", f"{actual / planned - 1:+.0%}" if planned else "-"]
    return " | ".join(cells)


if __name__ == "__main__":
    main()
