"""`fluxop simulate` prints planned against actual."""

from fleet_worlds import ARTICLE, plan
from typer.testing import CliRunner

from streamflow_fluxop.cli import app


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
