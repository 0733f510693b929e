"""Short histories of the fleet's decisions, event by event."""

from fleet_worlds import FLAVOURS, GPU, plan, step

from streamflow_fluxop.grouping import Group, planned_groups
from streamflow_fluxop.model import Limits, Needs
from streamflow_fluxop.orchestration.decisions.machine import Fleet, Phase
from streamflow_fluxop.orchestration.decisions.messages import (
    BringUp,
    BroughtUp,
    ChangeSize,
    Closing,
    FailJob,
    JobFinished,
    JobRequested,
    Lost,
    Resized,
    ResultFound,
    StartJob,
    TearDown,
    Tick,
    TornDown,
    WakeAt,
)
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder


def fleet(*names, limits=None):
    return Fleet([Group(name, "cpu", 1, None) for name in names], FLAVOURS, limits or Limits())


def what(instructions):
    return [type(i) for i in instructions if not isinstance(i, WakeAt)]


def test_a_job_may_end_after_its_minicluster_is_gone_with_the_run():
    it = fleet("a")
    assert what(it.handle(JobRequested("j", "a", needs=Needs()), 0)) == [BringUp]
    assert what(it.handle(BroughtUp("a"), 10)) == [StartJob]
    assert what(it.handle(Closing(), 20)) == [TearDown]
    assert what(it.handle(TornDown("a"), 30)) == []
    assert what(it.handle(JobFinished("j"), 31)) == []
    assert it.phase("a") is Phase.DOWN


def test_a_bring_up_that_failed_is_not_tried_again_before_a_job_asks():
    it = fleet("a")
    it.handle(JobRequested("j", "a", needs=Needs()), 0)
    assert what(it.handle(Lost("a", "no node is left"), 10)) == [FailJob, TearDown]
    assert what(it.handle(TornDown("a"), 20)) == []
    assert what(it.handle(JobRequested("again", "a", needs=Needs()), 30)) == [BringUp]


def test_what_waits_for_room_comes_when_what_held_it_is_gone():
    it = fleet("a", "b", limits=Limits(nodes=1))
    it.handle(JobRequested("j", "a", needs=Needs()), 0)
    it.handle(BroughtUp("a"), 10)
    assert what(it.handle(JobRequested("k", "b", needs=Needs()), 20)) == []
    assert what(it.handle(JobFinished("j"), 30)) == [TearDown]
    assert what(it.handle(TornDown("a"), 40)) == [BringUp]


def test_a_minicluster_that_can_not_grow_comes_again_with_the_nodes_that_a_job_needs():
    it = Fleet([Group("a", "cpu", 1, None, max_size=2)], FLAVOURS, Limits())
    it.handle(JobRequested("small", "a", needs=Needs()), 0)
    it.handle(BroughtUp("a"), 10)
    assert what(it.handle(JobRequested("wide", "a", needs=Needs(nodes=2, tasks=2)), 20)) == [ChangeSize]
    assert what(it.handle(Resized("a", 1, "the quota is used up"), 30)) == []
    assert what(it.handle(JobFinished("small"), 40)) == [TearDown]
    (up,) = (i for i in it.handle(TornDown("a"), 50) if isinstance(i, BringUp))
    assert up.size == 2
    assert what(it.handle(Lost("a", "the quota is used up"), 60)) == [FailJob, TearDown]


def test_a_planned_job_that_waits_for_a_growth_that_fails_gets_another_life_of_the_minicluster():
    steps = [step("/a", seconds=400), step("/b", "/a", seconds=300, needs=Needs(nodes=2, tasks=2))]
    made = plan(steps)
    (name,) = (m.name for m in made.miniclusters if m.resizes)
    it = Fleet(planned_groups(made, frozenset()), FLAVOURS, Limits(), PartialOrder(made, frozenset()))
    it.handle(JobRequested("a", name, "/a", steps[0].needs), 0)
    it.handle(BroughtUp(name), 120)
    assert what(it.handle(Tick(), 400)) == [ChangeSize]
    it.handle(JobFinished("a"), 500)
    assert what(it.handle(JobRequested("b", name, "/b", steps[1].needs), 500)) == []
    assert what(it.handle(Resized(name, 1, "the quota is used up"), 510)) == [TearDown]
    (up,) = (i for i in it.handle(TornDown(name), 570) if isinstance(i, BringUp))
    assert (up.group, up.size) == (name, 2)


def test_a_minicluster_beyond_the_plan_does_not_grow_either_where_none_can():
    steps = [step("/a"), step("/b")]
    made = plan(steps)
    it = Fleet(planned_groups(made, frozenset()), FLAVOURS, Limits(), PartialOrder(made, frozenset()), resizes=False)
    gpu = Needs(gpus_per_task=1)
    asked = [i for n in range(9) for i in it.handle(JobRequested(f"x{n}", "", "/a", gpu, None), n)]
    beyond = [i.group for i in asked if isinstance(i, BringUp) and i.group.startswith("gpu")]
    assert beyond
    assert all(it.members[name].fixed for name in beyond)


def test_jobs_beyond_the_plan_fill_the_miniclusters_that_are_coming_before_another_one_comes():
    steps = [step("/a", seconds=1000, needs=Needs(gpus_per_task=1))]
    made = plan(steps)
    (name,) = (m.name for m in made.miniclusters)
    it = Fleet(planned_groups(made, frozenset()), FLAVOURS, Limits(), PartialOrder(made, frozenset()), resizes=False)
    asked = [i for n in range(7) for i in it.handle(JobRequested(f"x{n}", name, "/a", steps[0].needs, n), 0)]
    assert what(asked) == [BringUp] * 4  # of two GPUs each


def test_nothing_comes_for_planned_jobs_whose_results_are_there():
    steps = [step("/a", width=2), step("/b", "/a", needs=GPU)]
    made = plan(steps, strategy="per-step")
    a, _ = (m.name for m in made.miniclusters)
    it = Fleet(planned_groups(made, frozenset()), FLAVOURS, Limits(), PartialOrder(made, frozenset()))
    assert what(it.handle(Tick(reused=("/a", "/a", "/b")), 0)) == []
    it = Fleet(planned_groups(made, frozenset()), FLAVOURS, Limits(), PartialOrder(made, frozenset()))
    assert what(it.handle(Tick(), 0)) == [BringUp]
    it.handle(BroughtUp(a), 120)
    it.handle(ResultFound("/a"), 121)
    assert what(it.handle(ResultFound("/a"), 122)) == [TearDown, BringUp], "what follows can begin"


def test_a_minicluster_that_was_asked_for_ahead_of_its_uncertain_use_waits_for_it_though_it_comes_sooner():
    """As durations deviate, it is asked for early, to be there in 120 s; it is there after 60."""
    steps = [step("/a"), step("/b", "/a", seconds=400, needs=GPU), step("/c", "/b", seconds=800)]
    made = plan(steps, strategy="per-step")
    a, b, c = (m.name for m in made.miniclusters)
    it = Fleet(planned_groups(made, frozenset()), FLAVOURS, Limits(), PartialOrder(made, frozenset()))
    it.handle(JobRequested("a", a, "/a", steps[0].needs, 0), 0)
    it.handle(BroughtUp(a), 120)
    it.handle(JobFinished("a"), 150)
    it.handle(JobRequested("b", b, "/b", GPU, 0), 150)
    it.handle(BroughtUp(b), 270)
    now = next(now for now in range(271, 1200) if BringUp in what(it.handle(Tick(), now)))
    for seconds in range(60, 120):
        assert what(it.handle(BroughtUp(c) if seconds == 60 else Tick(), now + seconds)) in ([], [TearDown]), seconds
        assert it.phase(c) is Phase.UP
