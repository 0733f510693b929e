"""What is different where Fluxion schedules: what we ask of it, and how we word its refusals.

The other tests of the agent run on Fluxion, too, where Flux finds it (CONTRIBUTING.md says how).
"""

from __future__ import annotations

import json

import pytest

from streamflow_fluxop.agent.backends.flux import FLUXION_REFUSES, _Job
from streamflow_fluxop.agent.backends.jobspec import jobspec
from streamflow_fluxop.agent.wire.protocol import JobRequest


@pytest.mark.parametrize(("limit", "asked"), [(None, 0), (0.5, 1), (1.0, 1), (1.2, 2), (60, 60)])
def test_time_limits_are_whole_seconds_and_never_none(limit: float | None, asked: int) -> None:
    request = JobRequest(("true",), time_limit=limit)
    spec = json.loads(jobspec(request, nodes=None, environment={}, shell_options={}, whole_seconds=True))
    assert spec["attributes"]["system"]["duration"] == asked


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("unsatisfiable request: need 4 node(s)", "unsatisfiable request: need 4 node(s)"),
        ("", f"unsatisfiable request: {FLUXION_REFUSES}"),
    ],
)
def test_a_refusal_is_worded_where_we_know_why(words: str, reason: str) -> None:
    refused = {"exception": {"type": "alloc", "severity": 0, "note": FLUXION_REFUSES}}
    outcome = _Job(None, lambda: words).outcome(refused)
    assert (outcome.exit_code, outcome.reason) == (1, reason)
