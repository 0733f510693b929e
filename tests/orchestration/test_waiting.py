"""Why jobs wait beside idle nodes: found by the fleet, told once."""

import asyncio
import logging

from fleet_worlds import FLAVOURS, plan_by_hand, step

from streamflow_fluxop import events
from streamflow_fluxop.grouping import Group, planned_groups
from streamflow_fluxop.model import Limits, Needs
from streamflow_fluxop.orchestration.decisions.machine import Fleet
from streamflow_fluxop.orchestration.decisions.messages import BroughtUp, JobFinished, JobRequested, Tick
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.wait_causes import Cause, Wait
from streamflow_fluxop.orchestration.wait_reporting import Waits

WHOLE = Needs(exclusive=True)


def reasons(fleet, now):
    return {w.minicluster: (w.idle, w.jobs, w.job, w.cause) for w in fleet.waiting(now).beside_idle_nodes()}


def test_a_node_is_kept_for_what_the_plan_has_before_a_job():
    steps = [
        step("/first", seconds=100),
        step("/soon", "/first", seconds=100, needs=WHOLE),
        step("/long", seconds=900, needs=WHOLE),
    ]
    made = plan_by_hand(
        steps,
        ("/first", 0, 1, "cpu-1", 120, 220),
        ("/soon", 0, 1, "cpu-2", 220, 320),
        ("/long", 0, 1, "cpu-2", 320, 1220),
    )
    it = Fleet(planned_groups(made), FLAVOURS, Limits(), PartialOrder(made))
    it.handle(Tick(), 0)
    it.handle(JobRequested("/first/0", "cpu-1", "/first", steps[0].needs, 0), 0)
    it.handle(JobRequested("/long/0", "cpu-2", "/long", WHOLE, 0), 0)
    for now in (100, 101):
        it.handle(Tick(), now)
    it.handle(BroughtUp("cpu-1"), 110)
    it.handle(Tick(), 111)
    it.handle(BroughtUp("cpu-2"), 130)
    idle, jobs, job, cause = reasons(it, 130)["cpu-2"]
    assert (idle, jobs, job, cause.reason, cause.kept_for) == (1, 1, "/long/0", "reserved", "/soon")
    assert 190 <= cause.expected <= 230


def test_one_node_is_too_few_for_a_job_of_two():
    it = Fleet([Group("a", "cpu", 2, None)], FLAVOURS, Limits(nodes=2))
    it.handle(JobRequested("one", "a", needs=WHOLE), 0)
    it.handle(JobRequested("pair", "a", needs=Needs(tasks=2, nodes=2, exclusive=True)), 0)
    it.handle(BroughtUp("a"), 100)
    assert reasons(it, 100)["a"][2:] == ("pair", Cause("size", "the job needs 2 nodes"))


def test_a_job_with_another_image_waits_for_room_within_the_limits():
    it = Fleet([Group("a", "cpu", 2, "x:1"), Group("b", "cpu", 1, "y:1")], FLAVOURS, Limits(nodes=2))
    it.handle(JobRequested("one", "a", needs=WHOLE), 0)
    it.handle(BroughtUp("a"), 100)
    it.handle(JobRequested("other", "b", needs=Needs()), 101)
    words = "the job needs image y:1, not x:1; the limit of 2 nodes leaves no room for b"
    assert reasons(it, 101)["a"] == (1, 1, "other", Cause("image", words))


def test_a_minicluster_that_stays_for_the_shared_files_says_so():
    it = Fleet([Group("a", "cpu", 1, "x:1"), Group("b", "cpu", 1, "y:1")], FLAVOURS, Limits(), keep_one=True)
    it.handle(JobRequested("one", "a", needs=Needs()), 0)
    it.handle(BroughtUp("a"), 100)
    it.handle(JobFinished("one"), 110)
    it.handle(JobRequested("other", "b", needs=Needs()), 115)
    cause = reasons(it, 116)["a"][-1]
    assert cause.reason == "image"
    assert cause.expected == 115 + 100, "as long as the first one took"
    assert cause.words == "the job needs image y:1, not x:1; b comes up; this one stays up for the shared files"


async def test_a_reason_is_told_once_as_long_as_it_is_the_same(caplog):
    found, told = [], []
    waits = Waits(lambda now: list(found), told.append)
    begin = asyncio.get_running_loop().time()

    def kept(step, seconds, jobs):
        return Wait("a", 1, f"/b/{jobs} 17", jobs, Cause("reserved", f"kept for {step}", step, begin + seconds))

    with caplog.at_level(logging.INFO):
        for wait in (kept("/c", 60, 3), kept("/c", 61, 2), kept("/c", 90, 1), kept("/d", 90, 1), None):
            found[:] = [wait] if wait else []
            waits.tell()
    assert [(e.jobs, e.job, e.kept_for, e.reason) for e in told] == [
        (3, "/b/3", "/c", "reserved"),
        (1, "/b/1", "/c", "reserved"),  # it is expected half a minute later
        (1, "/b/1", "/d", "reserved"),
        (0, None, None, None),
    ]
    assert all(isinstance(e, events.JobsWait) for e in told)
    assert [r.getMessage() for r in caplog.records] == [
        "WAITING beside MiniCluster a: 3 jobs waiting, /b/3 first, 1 node idle: kept for /c, expected in 60 s",
        "WAITING beside MiniCluster a: 1 job waiting, /b/1 first, 1 node idle: kept for /d, expected in 90 s",
    ]
