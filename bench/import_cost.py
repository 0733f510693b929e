"""What the plugin adds to the start of every `streamflow` command, beyond StreamFlow itself.

    python -m bench.import_cost [--runs 15]

New interpreters import StreamFlow, and then import and register the plugin; the median and the best of their times
are printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

SCRIPT = """\
import time
import streamflow.main
begin = time.perf_counter()
from streamflow_fluxop.plugin import FluxopPlugin
FluxopPlugin().register()
print(time.perf_counter() - begin)
"""


def milliseconds() -> float:
    """Of one new interpreter."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return 1000 * float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    milliseconds()  # compiles what is not compiled yet
    times = [milliseconds() for _ in range(options.runs)]
    print(f"plugin beyond StreamFlow: median {statistics.median(times):.0f} ms, best {min(times):.0f} ms")


if __name__ == "__main__":
    main()
