"""A run keeps its budget while it goes, on simulated time; the forecast says early what will become of it."""

import io
import re
from datetime import datetime, timezone

import pytest
from fleet_worlds import ARTICLE, FLAVOURS, plan, step, workflows
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from streamflow_fluxop import events
from streamflow_fluxop.cli import app
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Duration, Limits
from streamflow_fluxop.orchestration.simulation.simulated import Chance
from streamflow_fluxop.orchestration.simulation.simulator import Simulation
from streamflow_fluxop.report.live import panel
from streamflow_fluxop.report.terminal import ASCII


def run(made, seconds=None, on_budget="stop", chance=None, widths=None, **wish):
    """Run a plan within a budget and a deadline; the outcome, and what was recorded."""
    problem = made.problem.model_copy(update={"objective": made.problem.objective.model_copy(update=wish)})
    recorded = []
    simulation = Simulation(
        made.model_copy(update={"problem": problem}), chance, seconds=seconds, widths=widths, on_budget=on_budget
    )
    simulation.record = lambda event: recorded.append((simulation.now, event))
    return simulation.run(), recorded


def of(kind, recorded):
    return [(at, event) for at, event in recorded if isinstance(event, kind)]


def known(name, *after, seconds=100, **more):
    """A step whose duration somebody has stated."""
    return step(name, *after, **more).model_copy(update={"duration": Duration(seconds=seconds, source="hint")})


CHAIN = [known("/a", seconds=600), known("/b", "/a", seconds=600), known("/c", "/b", seconds=600)]


@pytest.mark.parametrize("steps", [ARTICLE, CHAIN], ids=["article", "chain"])
def test_a_run_that_goes_as_planned_reaches_its_end_with_exactly_what_it_costs(steps):
    made = plan(steps)
    outcome, recorded = run(made, budget=made.cost, deadline=made.makespan)
    assert outcome.stopped is None
    assert outcome.cost == pytest.approx(made.cost)
    assert of(events.ForecastPassed, recorded) == []


@settings(max_examples=30)
@given(workflows(5), st.integers(0, 1000), st.floats(0.0, 1.5), st.floats(0.2, 1.5))
def test_the_total_never_passes_the_budget_tear_down_included(drawn, seed, noise, share):
    steps, limits = drawn
    made = plan(steps, limits, "by-level")
    chance = Chance(noise=noise, bring_up_noise=noise, failures=0.1, losses=0.1, seed=seed)
    outcome, _ = run(made, chance=chance, budget=share * made.cost)
    assert outcome.cost <= share * made.cost * (1 + 1e-4) + 1e-9


def test_a_forecast_passes_the_budget_long_before_the_cost_does():
    made = plan(CHAIN)
    _, recorded = run(made, {("/a", 0): 1800}, budget=1.2 * made.cost)
    [(at, said)] = of(events.ForecastPassed, recorded)
    [(stopped, _)] = of(events.BudgetReached, recorded)
    assert said.what == "budget"
    assert said.allowed == pytest.approx(1.2 * made.cost)
    assert at < 0.7 * stopped
    assert "What would help: a larger `plan.budget`" in said.message


def test_a_forecast_passes_the_deadline_and_the_run_goes_on():
    made = plan(CHAIN)
    outcome, recorded = run(made, {("/a", 0): 1800}, deadline=1.2 * made.makespan)
    [(at, said)] = of(events.ForecastPassed, recorded)
    assert (said.what, outcome.stopped) == ("deadline", None)
    assert at < 0.5 * outcome.makespan
    assert "more room in `limits`" in said.message


def test_a_forecast_comes_true_when_durations_are_what_was_expected_of_them():
    made = plan(ARTICLE)
    outcome, recorded = run(made, budget=10 * made.cost)
    forecasts = [event for _, event in of(events.Forecast, recorded)]
    assert forecasts[0].cost == pytest.approx(outcome.cost)
    assert max(f.cost for f in forecasts) < 1.05 * outcome.cost
    assert max(f.makespan for f in forecasts) < 1.02 * outcome.makespan


def test_with_warn_the_run_goes_on_to_its_end():
    made = plan(CHAIN)
    outcome, recorded = run(made, {("/a", 0): 1800}, on_budget="warn", budget=made.cost)
    assert outcome.stopped is None
    assert outcome.cost > made.cost
    [(_, said)] = of(events.ForecastPassed, recorded)
    assert "it goes on, as `plan.on_budget` is `warn`" in said.message


def test_no_job_starts_that_the_rest_does_not_pay():
    """It is known that /c takes 600 s; after /a and /b there is money for 500."""
    made = plan(CHAIN)
    outcome, recorded = run(made, {("/b", 0): 700}, budget=made.cost)
    assert [step for step, _ in outcome.starts] == ["/a", "/b"]
    [(at, reached)] = of(events.BudgetReached, recorded)
    assert reached.cost < 0.8 * made.cost
    assert "does not reach for another job" in outcome.stopped
    assert outcome.lives[-1].gone == pytest.approx(at + FLAVOURS["cpu"].tear_down)


def test_what_can_be_over_within_the_budget_goes_on_and_what_can_not_is_ended():
    """Both begin together; /long is late for /next, which nothing is left for: /short is over, /long is not."""
    steps = [
        known("/first", seconds=1000),
        known("/long", "/first", seconds=3000),
        known("/short", "/first", seconds=400),
        known("/next", "/first", seconds=10),
    ]
    one = Limits(nodes=1)
    made = plan(steps, one)
    outcome, _ = run(made, {("/first", 0): 2500}, budget=made.cost)
    assert outcome.stopped
    over = {name for name, _ in outcome.starts}
    assert "/long" not in over
    assert {"/first"} <= over
    assert outcome.cost <= made.cost * (1 + 1e-6)


def test_of_durations_that_are_only_assumed_nothing_is_held_to_be_impossible():
    """Each is assumed to take 600 s, and takes 5: a run that began dear goes on."""
    assumed = [s.model_copy(update={"duration": Duration(seconds=600, source="assumed")}) for s in CHAIN]
    made = plan(assumed)
    outcome, _ = run(made, {("/a", 0): 1000, ("/b", 0): 5, ("/c", 0): 5}, budget=made.cost)
    assert outcome.stopped is None


def test_more_jobs_than_were_planned_are_stopped_at_the_budget():
    made = plan([known("/wide", seconds=500, width=4)])
    outcome, _ = run(made, widths={"/wide": 40}, budget=1.5 * made.cost)
    assert outcome.stopped
    assert 4 <= outcome.jobs < 40
    assert outcome.cost <= 1.5 * made.cost * (1 + 1e-6)


def test_in_the_end_all_who_wait_learn_why():
    made = plan([known("/wide", seconds=500, width=4)], Limits(nodes=1))
    outcome, recorded = run(made, widths={"/wide": 40}, budget=1.5 * made.cost)
    reasons = {event.reason for _, event in of(events.JobEnded, recorded) if event.exit_code is None}
    assert reasons == {outcome.stopped}


def with_budget(made, share):
    """The plan as one that was made for so much of what it costs."""
    objective = made.problem.objective.model_copy(update={"budget": share * made.cost, "deadline": made.makespan})
    return made.model_copy(update={"problem": made.problem.model_copy(update={"objective": objective})})


@pytest.mark.parametrize(("options", "code"), [([], 3), (["--on-budget", "warn"], 0)])
def test_simulate_keeps_the_budget_and_says_so(tmp_path, options, code):
    """Durations deviate, and the budget leaves nothing for that."""
    file, log = tmp_path / "plan.json", tmp_path / "events.jsonl"
    file.write_text(with_budget(plan(CHAIN), 1.0).model_dump_json())
    words = ["simulate", str(file), "--noise", "0.5", "--seed", "2", "-o", str(log), *options]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    assert ("stopped: the budget of 0.55" in result.output) == bool(code)
    report = CliRunner().invoke(app, ["report", str(log)])
    assert ("stopped at its budget" in report.output) == bool(code)
    assert "Forecast: the run will cost" in report.output


def test_the_live_view_has_budget_and_deadline_beside_the_forecast(tmp_path):
    made = with_budget(plan(CHAIN), 2.0)
    _, recorded = run(made, {("/a", 0): 1800}, budget=2.0 * made.cost, deadline=made.makespan)
    until = next(i for i, (_, e) in enumerate(recorded) if isinstance(e, events.ForecastPassed))
    started = events.RunStarted(run="r", started=datetime.now(timezone.utc), host="here", pid=1)
    view = RunView([started, *(e.model_copy(update={"at": at}) for at, e in recorded[: until + 1])])
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(panel(view, recorded[until][0], "running", 100, colours=False, glyphs=ASCII))
    [line] = [line.strip() for line in console.export_text().splitlines() if line.startswith("may")]
    assert re.fullmatch(r"may   budget 1.1 \(forecast 0\.\d+\), deadline 32 min \(forecast .+\)", line)
