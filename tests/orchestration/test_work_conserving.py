"""Jobs start when they can: no run waits for the plan's clock."""

import pytest
from fleet_worlds import FLAVOURS, GPU, assert_who_waits_has_a_reason, plan, step, workflows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.grouping import Group, group_steps, planned_groups
from streamflow_fluxop.model import Dependency, Flavour, Limits, Needs
from streamflow_fluxop.orchestration.decisions.machine import Fleet, Phase
from streamflow_fluxop.orchestration.decisions.messages import (
    BringUp,
    BroughtUp,
    JobFinished,
    JobRequested,
    StartJob,
    TearDown,
    Tick,
)
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.simulation.simulator import Simulation

WHOLE = Needs(exclusive=True)


def times(factor):
    """Flavours whose bring-ups and tear-downs take so many times what the plan assumes."""
    return {
        name: f.model_copy(update={"bring_up": factor * f.bring_up, "tear_down": factor * f.tear_down})
        for name, f in FLAVOURS.items()
    }


def seconds(steps, factor):
    return {(s.name, i): factor * s.duration.seconds for s in steps for i in range(s.width)}


def started(instructions):
    return [i.job for i in instructions if isinstance(i, StartJob)]


def test_a_minicluster_that_is_up_sooner_than_assumed_starts_its_jobs_at_once():
    made = plan([step("/echo", seconds=60)])
    outcome = Simulation(made, flavours=times(0.01), seconds={("/echo", 0): 0.1}).run()
    assert outcome.makespan == pytest.approx(1.3)  # a bring-up of 1.2 s


def test_what_is_needed_earlier_than_planned_is_asked_for_earlier():
    steps = [step("/a", seconds=1000), step("/b", "/a", seconds=1000, needs=GPU), step("/c", "/b", seconds=1000)]
    outcome = Simulation(plan(steps), flavours=times(0.1), seconds=seconds(steps, 0.1)).run()
    assert outcome.makespan < 0.1 * 3000 + 3 * 12 + 1


@pytest.mark.parametrize("factor", [0.01, 0.3, 3.0])
def test_a_minicluster_that_comes_late_or_soon_is_whole(factor):
    """Sixty jobs on the nodes that the plan has for them take no longer for that than the bring-up does."""
    steps = [step("/wide", seconds=60, width=60, needs=Needs(cores_per_task=2))]
    made = plan(steps, Limits(nodes=6))
    outcome = Simulation(made, flavours=times(factor)).run()
    assert outcome.makespan <= made.makespan + max(0.0, factor - 1) * 120 + 1


def test_a_job_goes_first_only_where_nobody_before_it_is_late_for_it():
    """The plan has a long job on the node in a while, as soon as another one is over elsewhere."""
    steps = [
        step("/first", seconds=300, needs=GPU),
        step("/long", "/first", seconds=1000, needs=WHOLE),
        step("/short", seconds=100, needs=WHOLE),
        step("/last", seconds=900, needs=WHOLE),
    ]
    made = plan(steps, Limits(nodes=2))
    outcome = Simulation(made, flavours=times(0.9)).run()
    assert outcome.makespan <= made.makespan


@pytest.mark.parametrize("cheap_first", [True, False])
def test_of_idle_miniclusters_through_which_files_are_reached_the_cheapest_stays(cheap_first):
    groups = [Group("cheap", "cpu", 1, None), Group("dear", "gpu", 1, None)]
    it = Fleet(groups, FLAVOURS, Limits(), keep_one=True)
    for name in ("cheap", "dear"):
        it.handle(JobRequested(name, name, needs=Needs()), 0)
        it.handle(BroughtUp(name), 100)
    for name in ("cheap", "dear") if cheap_first else ("dear", "cheap"):
        it.handle(JobFinished(name), 200)
    for now in range(201, 1000, 10):
        it.handle(Tick(), now)
    assert it.phase("cheap") is Phase.UP
    assert it.phase("dear") is Phase.GOING


def test_small_commands_wait_for_what_comes_anyway():
    made = plan([step("/a", seconds=1000), step("/b", "/a", seconds=1000, needs=GPU)])
    names = {m.flavour: m.name for m in made.miniclusters}
    it = Fleet(planned_groups(made), FLAVOURS, Limits(), PartialOrder(made))
    (up,) = (i for i in it.handle(Tick(), 0) if isinstance(i, BringUp))
    assert up.group == names["cpu"]
    asked = it.handle(JobRequested("test -e file", names["gpu"]), 1)
    assert not [i for i in asked if isinstance(i, BringUp)]
    assert "test -e file" in started(it.handle(BroughtUp(names["cpu"]), 60))


def test_a_minicluster_stays_for_a_step_that_may_come():
    steps = [step("/a", seconds=100), step("/maybe", "/a", seconds=100)]
    made = plan(steps, strategy="single")
    (name,) = (m.name for m in made.miniclusters)
    it = Fleet(planned_groups(made, {"/maybe"}), FLAVOURS, Limits(), PartialOrder(made, frozenset({"/maybe"})))
    it.handle(JobRequested("a", name, "/a", steps[0].needs, 0), 0)
    it.handle(BroughtUp(name), 120)
    assert not [i for i in it.handle(JobFinished("a"), 220) if isinstance(i, TearDown)]
    gone = [now for now in range(221, 900, 5) for i in it.handle(Tick(), now) if isinstance(i, TearDown)]
    assert len(gone) == 1
    assert gone[0] > 220 + 150  # by then the step is held to be over


def test_without_a_plan_a_minicluster_outlives_the_moment_that_the_engine_takes():
    it = Fleet([Group("a", "cpu", 1, None)], FLAVOURS, Limits())
    it.handle(JobRequested("first", "a", needs=Needs()), 0)
    it.handle(BroughtUp("a"), 10)
    it.handle(JobFinished("first"), 20)
    assert started(it.handle(JobRequested("second", "a", needs=Needs()), 20.9)) == ["second"]


@pytest.mark.parametrize("late", [1, 4, 20])
@pytest.mark.parametrize("longer", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("bring_ups", [0.6, 0.8, 1.3])
def test_no_nodes_come_for_jobs_that_have_room_and_start_at_once(bring_ups, longer, late):
    """Two samples through four steps, of which the second one is a bit behind the first."""
    wide = [("/a", 50, Needs()), ("/b", 50, Needs()), ("/c", 200, GPU), ("/d", 150, Needs())]
    names = [None, *(name for name, _, _ in wide)]
    steps = [
        step(name, *([Dependency(step=before, each=True)] if before else []), seconds=length, width=2, needs=needs)
        for before, (name, length, needs) in zip(names, wide, strict=False)
    ]
    durations = {(name, i): length * longer + i * late for name, length, _ in wide for i in range(2)}
    outcome = Simulation(plan(steps, Limits(nodes=4)), flavours=times(bring_ups), seconds=durations).run()
    used = {where for _, _, where in outcome.starts.values()}
    assert {life.name for life in outcome.lives} == used


def test_nodes_come_for_jobs_that_wait_because_others_took_theirs():
    """Coming and going turns out to be nearly free: what was to run after each other runs side by side."""
    steps = [step(f"/{i}", seconds=600, needs=WHOLE) for i in range(6)] + [step("/short", seconds=10, needs=WHOLE)]
    flavours = {"cpu": Flavour(cores=4, memory=4096, price=1.0, bring_up=600, tear_down=600)}
    made = plan(steps, flavours=flavours)
    real = {"cpu": flavours["cpu"].model_copy(update={"bring_up": 1, "tear_down": 1})}
    assert Simulation(made, flavours=real).run().makespan < made.makespan - 590


@settings(
    derandomize=settings().max_examples <= 100,
    max_examples=min(60, settings().max_examples),
    suppress_health_check=list(HealthCheck),
)
@given(
    drawn=workflows(6),
    bring_ups=st.sampled_from([0.01, 0.3, 1.0, 3.0]),
    durations=st.sampled_from([0.01, 0.3, 1.0, 3.0]),
    planned=st.booleans(),
)
def test_no_job_waits_beside_a_free_node_that_is_kept_for_nobody(drawn, bring_ups, durations, planned):
    steps, limits = drawn
    made = plan(steps, limits, "per-step")
    groups = None
    if not planned:
        groups = group_steps(steps, FleetConfig(cluster="local", flavours=FLAVOURS, limits=limits))

    def watch(now, fleet):
        assert_who_waits_has_a_reason(fleet, now)

    Simulation(made, flavours=times(bring_ups), seconds=seconds(steps, durations), groups=groups, watch=watch).run()
