"""What the plugin adds to the start of every `streamflow` command, beyond StreamFlow itself.

    python -m bench.import_cost [--runs 15]

New interpreters import StreamFlow, and then import and register the plugin; the median and the best of their times
are printed, and the least CPU time, which other programs on the machine hardly change.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

SCRIPT = """\
import time
import streamflow.main
begin, cpu = time.perf_counter(), time.process_time()
from streamflow_fluxop.streamflow_plugin import FluxopPlugin
FluxopPlugin().register()
print(time.perf_counter() - begin, time.process_time() - cpu)
"""


def milliseconds() -> tuple[float, float]:
    """Of one new interpreter: by the clock, and of CPU."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    clock, cpu = (1000 * float(word) for word in done.stdout.split())
    return clock, cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    milliseconds()  # compiles what is not compiled yet
    clock, cpu = zip(*(milliseconds() for _ in range(options.runs)), strict=True)
    median, best = statistics.median(clock), min(clock)
    print(f"plugin beyond StreamFlow: median {median:.0f} ms, best {best:.0f} ms, CPU {min(cpu):.0f} ms")


if __name__ == "__main__":
    main()
