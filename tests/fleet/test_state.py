"""Short histories of the fleet's decisions, event by event."""

from fleet_worlds import FLAVOURS

from streamflow_fluxop.fleet.messages import (
    BringUp,
    BroughtUp,
    Closing,
    FailJob,
    Gone,
    JobAsked,
    JobEnded,
    Lost,
    StartJob,
    TearDown,
    WakeAt,
)
from streamflow_fluxop.fleet.state import Fleet, Stage
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Limits, Needs


def fleet(*names, limits=None):
    return Fleet([Group(name, "cpu", 1, None) for name in names], FLAVOURS, limits or Limits())


def what(instructions):
    return [type(i) for i in instructions if not isinstance(i, WakeAt)]


def test_a_job_may_end_after_its_minicluster_is_gone_with_the_run():
    it = fleet("a")
    assert what(it.handle(JobAsked("j", "a", needs=Needs()), 0)) == [BringUp]
    assert what(it.handle(BroughtUp("a"), 10)) == [StartJob]
    assert what(it.handle(Closing(), 20)) == [TearDown]
    assert what(it.handle(Gone("a"), 30)) == []
    assert what(it.handle(JobEnded("j"), 31)) == []
    assert it.stage("a") is Stage.DOWN


def test_a_bring_up_that_failed_is_not_tried_again_before_a_job_asks():
    it = fleet("a")
    it.handle(JobAsked("j", "a", needs=Needs()), 0)
    assert what(it.handle(Lost("a", "no node is left"), 10)) == [FailJob, TearDown]
    assert what(it.handle(Gone("a"), 20)) == []
    assert what(it.handle(JobAsked("again", "a", needs=Needs()), 30)) == [BringUp]


def test_what_waits_for_room_comes_when_what_held_it_is_gone():
    it = fleet("a", "b", limits=Limits(nodes=1))
    it.handle(JobAsked("j", "a", needs=Needs()), 0)
    it.handle(BroughtUp("a"), 10)
    assert what(it.handle(JobAsked("k", "b", needs=Needs()), 20)) == []
    assert what(it.handle(JobEnded("j"), 30)) == [TearDown]
    assert what(it.handle(Gone("a"), 40)) == [BringUp]
