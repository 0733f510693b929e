"""`fluxop why`, on logs of simulated runs and on logs that were written here."""

import pytest
from test_cli_runs import CPU, runs, write  # noqa: F401 - a fixture

from streamflow_fluxop import events as e
from streamflow_fluxop.events import EventLog
from streamflow_fluxop.events.reading import read_events


@pytest.fixture
def simulated(world):
    """The log of a run in which MiniClusters and jobs fail."""
    assert world.plan("--workflow", "article.json", "-o", "plan.json").code == 0
    done = world.fluxop(
        *("simulate", "plan.json", "-o", "events.jsonl"),
        *("--noise", "0.3", "--failures", "0.4", "--losses", "0.2", "--seed", "3"),
    )
    assert done.code == 0, done.err
    return "events.jsonl"


def test_every_name_of_a_run_has_a_story(world, simulated):
    found = list(read_events(world.folder / simulated))
    names = {event.job for event in found if isinstance(event, e.JobAsked)}
    names |= {event.minicluster for event in found if isinstance(event, e.MiniClusterAsked)}
    for name in sorted(names):
        result = world.fluxop("why", simulated, name)
        assert result.code == 0, result.err
        assert result.out.splitlines()[2] in (
            f"job {name.partition(' try ')[0]} of article",
            f"MiniCluster {name} of article",
        )
        assert len(result.out.splitlines()) > 4
    failed = next(event.job for event in found if isinstance(event, e.JobEnded) and event.exit_code)
    assert "It is tried again (try 2)" in world.fluxop("why", simulated, failed).out


def test_a_step_with_several_jobs_lists_them(world, simulated):
    result = world.fluxop("why", simulated, "preprocess")
    assert "step preprocess of article, 2 jobs: 2 done" in result.out
    assert "done" in result.row("preprocess/0") + result.row("preprocess/1")


def test_the_newest_run_is_meant_where_none_is_named(world, runs):  # noqa: F811
    write(runs, "20260101-000000-aaaa")
    write(runs, "20260102-000000-bbbb", ends=False)
    result = world.fluxop("why", "a")
    assert result.headline == "run 20260102-000000-bbbb of wf.yml"
    assert "It is asked for, 1 node of cpu" in result.out
    older = world.fluxop("why", "20260101", "/s/0")
    assert "at 5 s  a is lost: no node is left." in older.out
    assert "It failed: MiniCluster a could not be brought up: no node is left." in older.out
    assert world.fluxop("why", "20260101", "0").out == older.out, "the end of a name is enough"
    assert world.fluxop("why", "20260101", "/s").out == older.out, "a step with one job is that job"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["/s/1"], "has no job, step or MiniCluster '/s/1'\n  Did you mean /s/0 or /s?"),
        (["nothing-like-it"], "There are: a, /s, /s/0."),
        (["20260101"], "'20260101' is a run\n  Write what of it, too: a, /s, /s/0."),
        (["none", "/s/0"], "there is no run 'none'"),
        (["20260101", "/s", "/s/0"], "3 names are given"),
    ],
)
def test_what_there_is_not_is_told_with_what_is_near(world, runs, arguments, says):  # noqa: F811
    write(runs, "20260101-000000-aaaa")
    result = world.fluxop("why", *arguments)
    assert result.code == 2
    assert says in result.err


def test_each_fleet_that_knows_a_name_is_asked(world, runs):  # noqa: F811
    write(runs, "one", fleets=("here", "there"))
    out = world.fluxop("why", "a").out
    assert out.index("MiniCluster a of here") < out.index("MiniCluster a of there")


def test_control_characters_that_a_job_said_are_shown_as_codes(world, runs):  # noqa: F811
    log = EventLog(runs / "one.jsonl", file="wf.yml", clock=lambda: 0.0, simulated=True)
    record = log.fleet("fleet")
    record(e.FleetStarted(flavours={"cpu": CPU}))
    record(e.JobAsked(job="/s/0", step="/s"))
    record(e.JobStarted(job="/s/0"))
    record(e.JobEnded(job="/s/0", exit_code=1, said="\x1b[31mred\nand more"))
    log.close()
    out = world.fluxop("why", "/s/0").out
    assert "\x1b" not in out
    assert "and more" in out
