from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow_fluxop.fleet.state import (
    BringUp,
    BroughtUp,
    Closing,
    FailJob,
    Fleet,
    Gone,
    JobAsked,
    JobEnded,
    Lost,
    Stage,
    StartJob,
    TearDown,
    within,
)
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Flavour, Limits

FLAVOURS = {"cpu": Flavour(cores=4, memory=4096, price=1.0), "gpu": Flavour(cores=8, memory=8192, gpus=2, price=8.0)}


def groups(**sizes):
    """Groups by name and size, on flavour gpu where the name says so."""
    return [Group(n, "gpu" if n.startswith("gpu") else "cpu", size, None) for n, size in sizes.items()]


def fleet(limits=None, **sizes):
    return Fleet(groups(**sizes), FLAVOURS, limits or Limits())


def kinds(instructions):
    return [(type(i).__name__, getattr(i, "job", None) or i.group) for i in instructions]


def test_a_minicluster_comes_up_with_its_first_job_and_starts_it():
    f = fleet(a=1)
    assert kinds(f.handle(JobAsked("1", "a"), 0)) == [("BringUp", "a")]
    assert kinds(f.handle(JobAsked("2", "a"), 0)) == []
    assert kinds(f.handle(BroughtUp("a"), 5)) == [("StartJob", "1"), ("StartJob", "2")]
    assert kinds(f.handle(JobAsked("3", "a"), 6)) == [("StartJob", "3")]


def test_miniclusters_that_fit_come_up_together():
    f = fleet(Limits(nodes=2), a=1, b=1)
    assert kinds(f.handle(JobAsked("1", "a"), 0)) == [("BringUp", "a")]
    assert kinds(f.handle(JobAsked("2", "b"), 0)) == [("BringUp", "b")]


def test_an_idle_minicluster_gives_way_where_the_limit_leaves_no_room():
    f = fleet(Limits(nodes=1), a=1, b=1)
    f.handle(JobAsked("1", "a"), 0)
    f.handle(BroughtUp("a"), 1)
    assert kinds(f.handle(JobAsked("2", "b"), 2)) == []
    assert kinds(f.handle(JobEnded("1"), 3)) == [("TearDown", "a")]
    assert kinds(f.handle(Gone("a"), 4)) == [("BringUp", "b")]


def test_the_one_that_has_been_idle_for_longest_gives_way():
    f = fleet(Limits(nodes=3), a=1, b=1, c=2)
    for job, group in (("1", "a"), ("2", "b")):
        f.handle(JobAsked(job, group), 0)
        f.handle(BroughtUp(group), 0)
    f.handle(JobEnded("2"), 1)
    f.handle(JobEnded("1"), 2)
    assert kinds(f.handle(JobAsked("3", "c"), 3)) == [("TearDown", "b")]


def test_a_minicluster_that_is_going_down_comes_up_again_for_a_late_job():
    f = fleet(Limits(nodes=1), a=1, b=1)
    f.handle(JobAsked("1", "a"), 0)
    f.handle(BroughtUp("a"), 0)
    f.handle(JobEnded("1"), 1)
    assert kinds(f.handle(JobAsked("2", "b"), 2)) == [("TearDown", "a")]
    assert kinds(f.handle(JobAsked("3", "a"), 3)) == []
    assert kinds(f.handle(Gone("a"), 4)) == [("BringUp", "b")]
    f.handle(BroughtUp("b"), 5)
    assert kinds(f.handle(JobEnded("2"), 6)) == [("TearDown", "b")]
    assert kinds(f.handle(Gone("b"), 7)) == [("BringUp", "a")]


def test_jobs_of_a_lost_minicluster_fail_and_the_next_one_brings_up_another():
    f = fleet(a=1)
    f.handle(JobAsked("1", "a"), 0)
    f.handle(BroughtUp("a"), 0)
    assert kinds(f.handle(Lost("a", "the node died"), 1)) == [("FailJob", "1"), ("TearDown", "a")]
    assert kinds(f.handle(JobAsked("2", "a"), 2)) == []
    assert kinds(f.handle(Gone("a"), 3)) == [("BringUp", "a")]


def test_at_the_end_whatever_is_up_or_coming_goes_and_whatever_waits_fails():
    f = fleet(a=1, b=1)
    f.handle(JobAsked("1", "a"), 0)
    f.handle(BroughtUp("a"), 0)
    f.handle(JobAsked("2", "b"), 0)
    assert kinds(f.handle(Closing(), 1)) == [("FailJob", "2"), ("TearDown", "a"), ("TearDown", "b")]
    assert kinds(f.handle(JobAsked("3", "a"), 2)) == [("FailJob", "3")]
    assert f.handle(BroughtUp("b"), 3) == []


LIMITS = st.builds(
    Limits,
    nodes=st.integers(3, 6),
    gpus=st.none() | st.integers(4, 6),
    cost_per_hour=st.none() | st.sampled_from([16.0, 20.0]),
    miniclusters=st.none() | st.integers(1, 3),
)


@settings(max_examples=300, deadline=None)
@given(limits=LIMITS, data=st.data())
def test_whatever_happens_the_limits_hold_and_every_job_gets_its_turn(limits, data):
    world = {g.name: g for g in groups(a=3, b=2, c=1, gpu=2, gpu2=1)}
    f = Fleet(world.values(), FLAVOURS, limits)
    asked, running, coming, going = [], {}, [], []
    total = data.draw(st.integers(1, 12), label="jobs")
    waiting = set()
    now = 0.0

    def note(instructions):
        for i in instructions:
            match i:
                case BringUp(group):
                    coming.append(group)
                case TearDown(group):
                    assert group not in running.values(), "a MiniCluster with jobs was torn down"
                    going.append(group)
                case StartJob(job, group):
                    assert f.stage(group) is Stage.UP
                    waiting.remove(job)
                    running[job] = group
                case FailJob(job):
                    waiting.discard(job)
                    running.pop(job, None)
        assert within(limits, FLAVOURS, f.held())

    while len(asked) < total or waiting or running or coming or going:
        now += 1
        up = [g for g in world if f.stage(g) is Stage.UP]
        choices = ["ask"] * (len(asked) < total) + ["up", "fail"] * bool(coming) + ["lose"] * bool(up)
        choices += ["gone"] * bool(going) + ["end"] * bool(running)
        assert choices, f"nothing can happen, but {waiting} wait"
        match data.draw(st.sampled_from(choices)):
            case "ask":
                job = f"job{len(asked)}"
                asked.append(job)
                waiting.add(job)
                note(f.handle(JobAsked(job, data.draw(st.sampled_from(sorted(world)))), now))
            case "up":
                note(f.handle(BroughtUp(coming.pop(0)), now))
            case "fail":
                note(f.handle(Lost(coming.pop(), "no node"), now))
            case "lose":
                note(f.handle(Lost(data.draw(st.sampled_from(up)), "the node died"), now))
            case "gone":
                note(f.handle(Gone(going.pop(0)), now))
            case "end":
                job = data.draw(st.sampled_from(sorted(running)))
                del running[job]
                note(f.handle(JobEnded(job), now))
    for instruction in f.handle(Closing(), now):
        assert isinstance(instruction, TearDown)
        f.handle(Gone(instruction.group), now)
    assert f.held() == []
