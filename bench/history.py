"""What past runs cost a plan: `python -m bench.history [--runs 4000]`.

An example is run once. Its log is copied, as if it had been run so often, and the file is read with its past and
without: when all logs are new to the index, when it has them, and when one of them is new, as after each run. CPU
seconds of this process, so that a busy machine does not matter much; the least of three.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.learning import EXAMPLES, runs_of
from streamflow_fluxop.events.index import Index
from streamflow_fluxop.events.reading import logs
from streamflow_fluxop.sources.detection import read


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("--runs", type=int, default=4000, help="that there were (4000)")
    parser.add_argument("--example", default="two-samples", help="what is run (two-samples)")
    options = parser.parse_args()
    file = EXAMPLES / options.example / "streamflow.yml"
    with tempfile.TemporaryDirectory(prefix="fluxop-bench-") as folder:
        list(runs_of(options.example, Path(folder), 1))
        (log,) = logs(Path(folder, "runs"))
        text = log.read_bytes()
        here = str(Path(folder, "examples", options.example)).encode()
        text = text.replace(here, str(file.parent).encode())  # as if it had run where it is read now
        past = Path(folder, "past")
        past.mkdir()
        for number in range(options.runs):
            past.joinpath(f"20260101-{number:06d}-0000.jsonl").write_bytes(text)
        os.environ["FLUXOP_RUNS"] = str(past)
        (source,) = read(file)
        if not any(note.startswith("past runs: ") for note in source.notes):
            raise SystemExit(f"nothing was learned: {source.notes}")
        past.joinpath("history.sqlite").unlink()
        without = least(lambda: read(file, no_history=True))
        print(f"{options.runs} runs of {options.example}, {len(text) / 1024:.0f} KiB each\n")
        print("| | CPU s on history |")
        print("|---|---|")
        print(f"| all logs are new: a part of them is read | {least(lambda: read(file), 1) - without:.3f} |")
        index = Index(past)
        index.update(None)
        index.close()
        print(f"| none is new | {least(lambda: read(file)) - without:.3f} |")
        past.joinpath("20270101-000000-0000.jsonl").write_bytes(text)
        print(f"| one is new | {least(lambda: read(file), 1) - without:.3f} |")


def least(work: Callable[[], object], times: int = 3) -> float:
    """CPU seconds of some work, the least of several times."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


if __name__ == "__main__":
    main()
