"""Hypothesis profiles: few examples by default; HYPOTHESIS_PROFILE=deep runs many. The planner's clock is the CPU's."""

import atexit
import os
import shutil
import tempfile
import time
import uuid

import pytest
from hypothesis import HealthCheck, settings

from streamflow_fluxop.planning import budget

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "deep", deadline=None, max_examples=10_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config):
    """The event logs of the runs that tests start go where pytest's other files do."""
    folder = tempfile.mkdtemp(prefix="fluxop-runs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["FLUXOP_RUNS"] = folder
    budget.monotonic, budget.Budget.rest = time.process_time, lambda _: 100.0  # whatever else the machine does


@pytest.fixture(autouse=True)
def _own_runs(monkeypatch, tmp_path_factory):
    """What one test runs, another one's plan does not learn from."""
    monkeypatch.setenv("FLUXOP_RUNS", str(tmp_path_factory.getbasetemp() / "runs" / uuid.uuid4().hex))
