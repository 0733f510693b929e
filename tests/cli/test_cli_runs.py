"""`fluxop status`, `runs` and `report` on logs that were written here."""

import json

import pytest

from streamflow_fluxop import events as e
from streamflow_fluxop.events import EventLog
from streamflow_fluxop.model import Flavour

CPU = Flavour(cores=4, memory=8192, price=3600)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    monkeypatch.setenv("FLUXOP_RUNS", str(folder))
    return folder


def write(runs, name, *, ends=True, fleets=("fleet",)):
    """A run of 10 s; each fleet has a MiniCluster for 5 s, and a job in it."""
    now = [0.0]
    log = EventLog(runs / f"{name}.jsonl", file="wf.yml", clock=lambda: now[0], simulated=True)
    for fleet in fleets:
        record = log.fleet(fleet)
        record(e.FleetStarted(flavours={"cpu": CPU}))
        record(e.JobAsked(job="/s/0", step="/s", minicluster="a"))
        record(e.MiniClusterAsked(minicluster="a", flavour="cpu", size=1))
    now[0] = 5.0
    for fleet in fleets if ends else ():
        record = log.fleet(fleet)
        record(e.MiniClusterLost(minicluster="a", reason="no node is left"))
        record(e.JobEnded(job="/s/0", reason="MiniCluster a could not be brought up: no node is left"))
        record(e.MiniClusterGone(minicluster="a"))
    now[0] = 10.0
    log.record(e.RunEnded(exit_code=1, reason="a job failed") if ends else e.JobStarted(job="nobody's"))
    log.close()


def test_a_report_says_what_went_wrong(world, runs):
    write(runs, "20260101-000000-aaaa")
    result = world.fluxop("report", "-o", "report.json")
    assert result.headline == "run 20260101-000000-aaaa of wf.yml"
    assert "simulated: failed after 10 s, cost 5" in result.out
    assert "at 5 s: MiniCluster a did not come up: no node is left" in result.out
    assert "at 5 s: step /s: MiniCluster a could not be brought up: no node is left (/s/0)" in result.out
    (fleet,) = json.loads((world.folder / "report.json").read_text())["fleets"]
    assert (fleet["planned"], fleet["actual"]["cost"], len(fleet["troubles"])) == (None, 5, 2)


def test_two_fleets_of_a_run_are_reported_one_after_the_other(world, runs):
    write(runs, "one", fleets=("here", "there"))
    out = world.fluxop("report").out
    assert out.index("here, actual: 1 MiniCluster") < out.index("there, actual: 1 MiniCluster")
    assert "cost 10" in out.splitlines()[1]
    assert world.fluxop("status").out.count("1 failed") >= 2


def test_runs_are_listed_the_newest_first(world, runs):
    for number in range(22):
        write(runs, f"202601{number + 10}-000000-aaaa")
    (runs / "20260100-broken.jsonl").write_text("?\n")
    result = world.fluxop("runs")
    assert result.out.index("20260131") < result.out.index("20260130")
    assert result.row("20260131").endswith("failed (simulated) 10 s 1 5 wf.yml")
    assert "and 3 older ones" in result.out
    everything = world.fluxop("runs", "--full").out
    assert "20260110" in everything
    assert "20260100-broken.jsonl:1: no event" in everything


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "none"], "there is no run 'none'"),
        (["status", "none.jsonl"], "none.jsonl: there is no such file"),
        (["report", "-o", "report.pdf"], "we can't write .pdf"),
        (["status", "2026"], "2 runs begin with '2026'"),
    ],
)
def test_what_can_not_be_shown_is_one_message(world, runs, arguments, says):
    write(runs, "20260101-000000-aaaa")
    write(runs, "20260102-000000-bbbb")
    result = world.fluxop(*arguments)
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err


def test_without_runs_it_says_how_to_start_one(world, runs):
    for command in ("status", "runs", "report"):
        result = world.fluxop(command)
        assert result.code == 2
        assert "`fluxop run streamflow.yml` starts one" in result.err
