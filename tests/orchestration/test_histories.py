"""Whole runs on simulated time: by the plan where nothing deviates, and within the rules whatever does."""

import pytest
from fleet_worlds import (
    ARTICLE,
    GPU,
    STRATEGIES,
    assert_who_waits_has_a_reason,
    histories,
    lives,
    plan,
    plan_by_hand,
    step,
    workflows,
)
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Dependency, Duration, Limits, Needs
from streamflow_fluxop.orchestration.decisions.minicluster_state import MOST_IDLE, Phase
from streamflow_fluxop.orchestration.simulation.simulated import Chance
from streamflow_fluxop.orchestration.simulation.simulator import Simulation


def idleness(simulation):
    """Watches that no MiniCluster is idle for longer than the rule allows."""
    longest = max((gap for b in simulation.order.blocks for gap, _ in b.gaps.values()), default=0.0)
    since = {}

    def watch(now, fleet):
        for name, m in fleet.members.items():
            if m.phase is Phase.UP and m.idle:
                start = since.setdefault(name, now)
                assert now - start <= MOST_IDLE * max(m.break_even, longest) + 1e-3, f"{name} idles"
            else:
                since.pop(name, None)

    return watch


def test_the_articles_workflow_takes_three_miniclusters_each_just_in_time():
    assert lives(Simulation(plan(ARTICLE)).run()) == [("cpu-1", 0, 1020), ("cpu-2", 2100, 2520), ("gpu-1", 900, 2220)]


def test_what_ends_early_moves_what_follows_forward():
    made, seconds = plan(ARTICLE), {("/preprocess", i): 300 for i in range(2)}
    outcome = Simulation(made, seconds=seconds).run()
    assert lives(outcome)[0] == ("cpu-1", 0, 720)
    assert outcome.makespan < made.makespan
    assert outcome.cost < made.cost


def test_what_ends_late_is_waited_for_and_what_follows_comes_no_earlier_than_it_is_of_use():
    made, seconds = plan(ARTICLE), {("/preprocess", i): 900 for i in range(2)}
    outcome = Simulation(made, seconds=seconds).run()
    assert outcome.makespan <= made.makespan + 300 + 2 * 120  # at the worst both bring-ups wait for their jobs
    assert max(life.released - life.asked for life in outcome.lives if life.flavour == "gpu") <= 1320


def test_jobs_that_turn_out_short_start_as_cores_are_free_whatever_was_assumed():
    made = plan([step("/long", seconds=3600), step("/wide", width=200, seconds=60)], Limits(nodes=2))
    outcome = Simulation(made, seconds={("/wide", i): 0.01 for i in range(200)}).run()
    ends = [end for (name, _), (_, end, _) in outcome.starts.items() if name == "/wide"]
    assert min(end for end in ends) == pytest.approx(120.01)
    assert max(ends) < 121


def test_jobs_do_not_wait_behind_one_that_is_far_longer_than_its_likes():
    made = plan([step("/wide", width=200, seconds=60)], Limits(nodes=1))
    outcome = Simulation(made, seconds={("/wide", i): 0.01 if i else 3600 for i in range(200)}).run()
    assert sorted(end for _, end, _ in outcome.starts.values())[-2] < 121


def test_a_workflow_of_short_jobs_takes_no_longer_than_without_a_plan():
    steps = [step("/a", width=50, seconds=60), step("/b", "/a", width=50, seconds=60, needs=GPU), step("/c", "/b")]
    made = plan(steps, Limits(nodes=4))
    outcome = Simulation(made, seconds={(s.name, i): 0.01 for s in steps for i in range(s.width)}).run()
    assert outcome.makespan < 3 * 120 + 60 + 10


def test_a_step_that_is_skipped_brings_nothing_up():
    steps = [step("/a", seconds=1000), step("/b", "/a", needs=GPU), step("/c", "/b")]
    outcome = Simulation(plan(steps), widths={"/b": 0}, open_ended=frozenset({"/b"})).run()
    assert all(life.flavour == "cpu" for life in outcome.lives)


@pytest.mark.parametrize("seed", [1, 4, 8])
def test_nodes_that_wait_in_vain_do_not_come_again_before_a_job_does(seed):
    steps = [
        step("/a", seconds=1, width=2, needs=GPU),
        step("/b", "/a", width=4),
        step("/c", seconds=1, width=5),
        step("/d", "/b", seconds=1, width=5),
    ]
    simulation = Simulation(plan(steps, strategy="by-level"), Chance(noise=1.0, failures=0.3, seed=seed))
    simulation.watch = idleness(simulation)
    assert len(simulation.run().starts) == 16


@pytest.mark.parametrize("seed", [59, 95, 150])
def test_a_job_beyond_the_plan_does_not_wait_for_one_that_is_overdue(seed):
    steps = [
        step("/a", seconds=400, width_source="hint"),
        step("/b", "/a", seconds=1, controller=True),
        step("/c", "/b", seconds=1, width=3, needs=Needs(cores_per_task=2, memory=1024)),
    ]
    chance = Chance(noise=1.0, failures=0.1, losses=0.2, seed=seed)
    simulation = Simulation(plan(steps, strategy="per-step"), chance, widths={"/a": 8})
    simulation.watch = idleness(simulation)
    assert len(simulation.run().starts) == 11


@pytest.mark.parametrize("seed", [19, 35])
def test_a_node_is_not_kept_for_ever_for_a_job_that_needs_more_than_come_yet(seed):
    steps = [
        step("/a", seconds=1),
        step("/b", seconds=2000, width=2, image="other", width_source="hint"),
        step("/c", "/a", "/b", seconds=1, needs=Needs(tasks=2, nodes=2), image="other"),
        step("/d", seconds=1),
    ]
    chance = Chance(noise=0.3, seed=seed)
    simulation = Simulation(plan(steps, strategy="by-level"), chance, widths={"/a": 0, "/b": 5})
    simulation.watch = idleness(simulation)
    assert len(simulation.run().starts) == 7


def test_what_runs_beside_the_engine_was_over_when_it_should_have_been():
    beside = [step("/a", seconds=1, controller=True), step("/b", "/a", seconds=400, controller=True)]
    made = plan([*beside, step("/c", "/b", seconds=1)])
    assert Simulation(made).run().makespan == pytest.approx(402)


def test_a_narrower_scatter_keeps_nobody_waiting():
    steps = [step("/a", width=8, seconds=500, width_source="hint"), step("/b", "/a", seconds=500)]
    outcome = Simulation(plan(steps, Limits(nodes=1)), widths={"/a": 2}).run()
    assert outcome.makespan == pytest.approx(1120)


def test_a_wider_scatter_finds_its_place():
    steps = [step("/a", width=2, seconds=500, width_source="hint"), step("/b", "/a", seconds=500)]
    outcome = Simulation(plan(steps, Limits(nodes=2)), widths={"/a": 20}).run()
    assert outcome.jobs == 21


def test_jobs_of_a_lost_minicluster_are_tried_again():
    outcome = Simulation(plan(ARTICLE), Chance(losses=0.5, failures=0.2, seed=3)).run()
    assert len(outcome.starts) == 8


@pytest.mark.parametrize(
    "steps",
    [
        ARTICLE,
        [step("/a", width=9), step("/b", "/a", width=30, seconds=40), step("/c", "/b", needs=GPU)],
        [step("/a"), step("/b", "/a", seconds=170, needs=GPU), step("/c", "/b")],
    ],
    ids=["article", "wide", "kept"],
)
@pytest.mark.parametrize("limits", [Limits(), Limits(nodes=2)], ids=["", "2 nodes"])
def test_without_deviation_a_run_is_the_plan_to_the_second(steps, limits):
    made = plan(steps, limits)
    outcome = Simulation(made).run()
    assert outcome.makespan == pytest.approx(made.makespan, abs=1e-3)
    assert outcome.cost == pytest.approx(made.cost)


SCATTER = [step("/a", width=2, seconds=200), step("/b", Dependency(step="/a", each=True), width=2, needs=GPU)]
ONE_BY_ONE = [("/a", 0, 1, "cpu-1", 120, 320), ("/a", 1, 1, "cpu-1", 320, 520)]
RAGGED = {
    "nothing happens for 33 s": plan_by_hand(
        [step("/a"), step("/b", "/a", needs=GPU)], ("/a", 0, 1, "cpu-1", 120, 220), ("/b", 0, 1, "gpu-1", 433, 533)
    ),
    "jobs start together whose data come one by one": plan_by_hand(
        SCATTER, *ONE_BY_ONE, ("/b", 0, 2, "gpu-1", 520, 620)
    ),
    "the same, and later than they could": plan_by_hand(SCATTER, *ONE_BY_ONE, ("/b", 0, 2, "gpu-1", 550, 650)),
    "put off, while others run beside the engine": plan_by_hand(
        [step("/a", seconds=10, controller=True), step("/b", "/a"), step("/c")],
        ("/a", 0, 1, None, 0, 10),
        ("/c", 0, 1, "cpu-2", 120, 220),
        ("/b", 0, 1, "cpu-1", 190, 290),
    ),
}


@pytest.mark.parametrize("made", RAGGED.values(), ids=RAGGED)
def test_without_deviation_what_a_plan_puts_off_for_no_reason_is_put_off(made):
    outcome = Simulation(made).run()
    assert outcome.makespan == pytest.approx(made.makespan, abs=1e-3)
    assert outcome.cost == pytest.approx(made.cost)


def test_once_a_job_was_short_nobody_waits_any_more_for_those_that_the_plan_starts_together_with_it():
    made = RAGGED["jobs start together whose data come one by one"]
    outcome = Simulation(made, seconds={("/a", 0): 199}).run()
    assert outcome.starts["/b", 0][0] == pytest.approx(319 + 120)


@settings(derandomize=settings().max_examples <= 100, suppress_health_check=list(HealthCheck))
@given(
    drawn=workflows(10),
    strategy=st.sampled_from(["auto", "single", *STRATEGIES]),
    spread=st.sampled_from([0.0, 0.3]),
)
def test_without_deviation_every_plan_of_every_strategy_is_what_happens_whatever_was_to_be_feared(
    drawn, strategy, spread
):
    steps, limits = drawn
    steps = [
        s.model_copy(update={"duration": Duration(seconds=s.duration.seconds, spread=spread * s.duration.seconds)})
        for s in steps
    ]
    assume(strategy != "by-level" or not any(s.controller for s in steps))  # nobody keeps the engine waiting
    try:
        made = plan(steps, limits, strategy)
    except UserError:
        reject()
    outcome = Simulation(made).run()
    assert outcome.makespan == pytest.approx(made.makespan, abs=0.1)
    assert outcome.node_seconds == pytest.approx(made.node_seconds, abs=0.1)


@settings(derandomize=settings().max_examples <= 100, suppress_health_check=list(HealthCheck))
@given(simulation=histories())
def test_whatever_happens_jobs_run_once_within_the_limits_and_nothing_idles_for_long(simulation):
    """The simulation itself refuses limits that are passed, nodes that are full, and jobs that wait for ever."""
    idle = idleness(simulation)

    def watch(now, fleet):
        idle(now, fleet)
        assert_who_waits_has_a_reason(fleet, now)

    simulation.watch = watch
    outcome = simulation.run()
    jobs = {(n, i) for n, width in simulation.widths.items() for i in range(width) if not simulation.elsewhere(n)}
    assert set(outcome.starts) == jobs
    assert all(life.gone > 0 for life in outcome.lives)
