"""The words for jobs that wait beside idle nodes."""

from __future__ import annotations

from streamflow_fluxop.events.event_types import JobsWait


def sentence(wait: JobsWait, expected_in: float | None, *, brief: bool = False) -> str:
    """Who waits, and why.

    Args:
        wait: as it was recorded.
        expected_in: seconds after which what is waited for is expected now; None: nobody knows.
        brief: leave out which job is the first.
    """
    first = "" if brief else f", {wait.job} first"
    idle = f"{wait.idle} node{'s' * (wait.idle != 1)} idle"
    when = f", expected in {expected_in:.0f} s" if expected_in is not None and expected_in >= 1 else ""
    return f"{wait.jobs} job{'s' * (wait.jobs != 1)} waiting{first}, {idle}: {wait.message}{when}"
