"""A strategy is one function and one line: the command line, the configuration, its schema and the documents follow."""

import subprocess
import sys
from pathlib import Path

from streamflow_fluxop.planning.strategies import REGISTRY

MORE = """
from streamflow_fluxop.planning import strategies
strategies.REGISTRY["mine"] = strategies.Strategy("mine", "construct.baselines:per_step")
"""


def python(code):
    """What a new interpreter prints that knows one strategy more."""
    return subprocess.run([sys.executable, "-c", MORE + code], capture_output=True, text=True, check=True).stdout


def test_a_new_strategy_is_known_to_the_command_line():
    said = python(
        "from typer.testing import CliRunner; from streamflow_fluxop.cli import app\n"
        "from streamflow_fluxop.cli.options import _strategies; print(_strategies('mi'))\n"
        "wanted = ['plan', '--workflow', 'docs/examples/article.yml', '--strategy', 'magic']\n"
        "print(CliRunner().invoke(app, wanted).output)"
    )
    assert "['mine']" in said
    assert "Take one of auto, optimal, per-task, per-step, single, by-level, mine." in " ".join(said.split())


def test_a_new_strategy_is_taken_by_the_configuration_and_is_in_its_schema():
    said = python(
        "from streamflow_fluxop.config.fleet import PlanOptions; print(PlanOptions(strategy='mine').strategy)\n"
        "print(PlanOptions.model_json_schema()['properties']['strategy']['enum'])"
    )
    assert said == "mine\n['auto', 'optimal', 'per-task', 'per-step', 'single', 'by-level', 'mine', 'dynamic']\n"


def test_a_new_strategy_makes_plans_and_is_compared_with_the_others():
    said = python(
        "from streamflow_fluxop.planning import solve; from streamflow_fluxop.sources import read\n"
        "from pathlib import Path; p = read(workflow=Path('docs/examples/article.yml'))[0].problem\n"
        "print(solve(p, strategy='mine').strategy, len(solve(p, time_limit=0.1).alternatives))"
    )
    assert said == "per-step 5\n"


def test_names_of_strategies_cost_no_import_of_the_planner():
    said = python(
        "import streamflow_fluxop.config.fleet, sys; print('streamflow_fluxop.planning.solver' in sys.modules)"
    )
    assert said == "False\n"


def test_the_documents_have_a_line_for_each_strategy():
    told = (Path(__file__).parents[2] / "docs/planner.md").read_text(encoding="utf-8")
    table = "".join(f"| `{name}` | {strategy.what} |\n" for name, strategy in REGISTRY.items())
    assert table in told
