"""Where jobs start once durations deviate."""

from fleet_worlds import FLAVOURS

from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Needs
from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.node_resources import load_of
from streamflow_fluxop.orchestration.decisions.planned_batches import PlannedBatch
from streamflow_fluxop.orchestration.decisions.work_sharing import WorkSharing

WHOLE = Needs(exclusive=True)
WIDE = Needs(tasks=2, nodes=2, cores_per_task=4)


def up(name, size=1):
    """A MiniCluster of nodes with four cores that is up."""
    member = MiniClusterState(Group(name, "cpu", size, None), FLAVOURS["cpu"], [])
    member.phase, member.size, member.target = Phase.UP, size, size
    member.nodes.resize(size)
    return member


class World:
    """A pool, and jobs that wait."""

    def __init__(self, *members):
        self.pool = WorkSharing()
        self.pool.members.extend(members)

    def ask(self, name, member, needs=None, seconds=100.0, tail=None):
        job = FleetJob(name, None, needs or Needs(), member.name, 0.0, estimated=seconds, tail=tail or seconds)
        job.load = load_of(job.needs, FLAVOURS["cpu"])
        member.add(job)
        self.pool.add(job)
        return job

    def start(self, now=0.0):
        started = []
        for job, member, nodes in self.pool.startable(now):
            member.book(job, nodes, now)
            started.append((job.name, member.name, nodes))
        return started


def test_the_job_with_the_longest_chain_behind_it_goes_first():
    it = up("a")
    world = World(it)
    for name, tail in (("short", 100), ("long", 900), ("middle", 500)):
        world.ask(name, it, WHOLE, tail=tail)
    assert [name for name, *_ in world.start()] == ["long"]


def test_long_jobs_take_the_first_nodes_and_short_ones_join_them():
    it = up("a", 2)
    world = World(it)
    for i in range(4):
        world.ask(f"long-{i}", it, seconds=900)
    world.ask("short", it, Needs(cores_per_task=4))
    assert [nodes for *_, nodes in world.start()] == [(0,)] * 4 + [(1,)]
    it.leave(it.running["long-0"])
    world.ask("shorter", it, seconds=50)
    assert world.start(10.0) == [("shorter", "a", (0,))]


def test_a_job_goes_to_another_minicluster_where_its_own_has_no_room():
    full, free = up("full"), up("free")
    world = World(full, free)
    world.ask("first", full, WHOLE)
    world.ask("second", full, WHOLE)
    assert world.start() == [("first", "full", (0,)), ("second", "free", (0,))]


def test_jobs_that_find_no_room_do_not_hide_others_behind_them():
    down, free = MiniClusterState(Group("down", "cpu", 2, None), FLAVOURS["cpu"], []), up("free")
    world = World(down, free)
    for i in range(50):
        world.ask(f"wide-{i}", down, WIDE, tail=900)
    world.ask("small", free)
    assert world.start() == [("small", "free", (0,))]


def test_a_wide_job_is_passed_over_by_those_only_that_are_over_before_it_can_start():
    it = up("a", 2)
    world = World(it)
    world.ask("runs", it, seconds=100)
    world.start()
    world.ask("wide", it, WIDE, tail=900)
    world.ask("longer", it, seconds=200)
    world.ask("shorter", it, Needs(cores_per_task=2), seconds=80)
    assert [name for name, *_ in world.start(10.0)] == ["shorter"]
    it.leave(it.running["runs"])
    it.leave(it.running["shorter"])
    assert [name for name, *_ in world.start(100.0)] == ["wide"]


def coming_work(member, jobs, seconds, at=0.0):
    """Jobs of a node each that are expected to begin at a time."""
    block = PlannedBatch(0, "step", 0, jobs, member.name, at, at + seconds, tuple(range(jobs)), 1, left=jobs)
    block.expected = (at, at + seconds)
    member.blocks.append(block)
    return block


def test_nodes_come_for_much_work_but_not_one_a_job_for_a_little():
    it = MiniClusterState(Group("a", "cpu", 16, None), FLAVOURS["cpu"], [])  # coming and going costs 180 s
    it.value_of_a_second = 10.0
    world = World(it)
    coming_work(it, 16, seconds=1000)
    assert world.pool.worth(it, 16, now=0.0) == 16
    it.blocks.clear()
    world.pool.soon = None
    coming_work(it, 16, seconds=20)
    assert world.pool.worth(it, 16, now=0.0) == 5  # sqrt(320 * 10 / 180)
    it.value_of_a_second = 1000.0
    assert world.pool.worth(it, 16, now=0.0) == 16


def test_no_node_comes_for_what_those_that_are_there_will_have_done_by_then():
    down, there = MiniClusterState(Group("down", "cpu", 4, None), FLAVOURS["cpu"], []), up("there")
    down.value_of_a_second = 10.0
    world = World(down, there)
    coming_work(down, 4, seconds=25)
    assert world.pool.worth(down, 4, now=0.0) == 0  # a bring-up takes 120 s
    world.ask("long", there, WHOLE, seconds=1000)
    world.start()
    assert world.pool.worth(down, 4, now=0.0) == 3


def test_what_is_far_away_brings_no_node():
    it = MiniClusterState(Group("a", "cpu", 4, None), FLAVOURS["cpu"], [])
    it.value_of_a_second = 10.0
    world = World(it)
    coming_work(it, 4, seconds=1000, at=10_000)
    assert world.pool.worth(it, 4, now=0.0) == 0
