"""`fluxop simulate` prints planned against actual."""

from fleet_worlds import ARTICLE, plan
from typer.testing import CliRunner

from streamflow_fluxop.cli import app
from streamflow_fluxop.cli.logs import read
from streamflow_fluxop.report.units import number


def simulate(tmp_path, *options):
    file = tmp_path / "plan.json"
    file.write_text(plan(ARTICLE).model_dump_json())
    result = CliRunner().invoke(app, ["simulate", str(file), *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_without_deviation_what_happens_is_what_was_planned(tmp_path):
    assert "makespan: planned 42 min, actual 42 min" in simulate(tmp_path)


def test_with_equal_seeds_the_same_happens_with_others_something_else(tmp_path):
    outputs = [simulate(tmp_path, "--noise", "0.3", "--seed", seed) for seed in ("1", "1", "2")]
    assert outputs[0] == outputs[1] != outputs[2]


def test_its_event_log_tells_the_same_as_the_outcome(tmp_path):
    log = tmp_path / "events.jsonl"
    output = simulate(tmp_path, "--noise", "0.3", "--failures", "0.2", "-o", str(log))
    report = CliRunner().invoke(app, ["report", str(log)])
    assert report.exit_code == 0, report.output
    assert "simulated: succeeded" in report.output
    view, summary = read(log)
    assert f"cost: planned {number(plan(ARTICLE).cost)}, actual {number(summary.cost)}" in output
    assert sum(f.counts.done for f in view.fleets.values()) == sum(
        s.width for s in plan(ARTICLE).problem.workflow.steps
    )


def test_an_event_log_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "plan.json").write_text(plan(ARTICLE).model_dump_json())
    (tmp_path / "events.jsonl").write_text("mine")
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "plan.json"), "-o", str(tmp_path / "events.jsonl")])
    assert result.exit_code == 2
    assert "events.jsonl: can't be written: File exists" in result.output
    assert (tmp_path / "events.jsonl").read_text() == "mine"
