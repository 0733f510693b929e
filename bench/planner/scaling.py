"""What one large plan takes, measured in a process of its own."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from pathlib import Path

from streamflow_fluxop.model import to_json
from streamflow_fluxop.planning import budget, solve
from streamflow_fluxop.sources import read
from streamflow_fluxop.verification import verify


def scaled(document: Path, seconds: float) -> tuple[str, list[float], float, float, float]:
    """Name; CPU seconds to read, plan, write and verify; GB used to write at most; score and its bound."""
    budget.monotonic = time.process_time
    times = [time.process_time()]
    case = read(workflow=document)[0].problem
    times.append(time.process_time())
    plan = solve(case, time_limit=seconds)
    times.append(time.process_time())
    to_json(plan)
    times.append(time.process_time())
    used = _peak()
    faults = verify(plan)
    times.append(time.process_time())
    if faults:
        raise SystemExit(f"{case.workflow.name}: {faults[:3]}")
    return case.workflow.name, [b - a for a, b in pairwise(times)], used, plan.score, plan.bounds.score


def _peak() -> float:
    """The most resident memory so far, in GB. `getrusage` would count the parent's, which survives `exec`."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024 / 1e9
