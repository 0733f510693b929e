"""The plan as an order of blocks: who waits for whom, who is next, and when each is expected."""

from fleet_worlds import FLAVOURS, GPU, plan, step

from streamflow_fluxop.grouping import Group, planned_groups
from streamflow_fluxop.model import Dependency, Limits, Needs
from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.decisions.placement import Placer
from streamflow_fluxop.orchestration.decisions.quota import Quota
from streamflow_fluxop.orchestration.decisions.retiming import Retiming

WIDE = plan([step("/a", width=8)], Limits(nodes=1))
"""Two times four jobs on one node with four cores."""


def members(made, order):
    return {g.name: MiniClusterState(g, FLAVOURS[g.flavour], order.of[g.name]) for g in planned_groups(made)}


def router(*groups):
    found = {g.name: MiniClusterState(g, FLAVOURS[g.flavour], []) for g in groups}
    return Placer(found, FLAVOURS, Limits(), Quota(Limits(), FLAVOURS), {})


def test_a_block_waits_for_the_one_that_has_its_cores_before():
    first, second = PartialOrder(WIDE).blocks
    assert (first.after, second.after) == ([], [first])


def test_jobs_are_given_out_in_order_of_their_starts():
    order = PartialOrder(WIDE)
    assert [order.take("/a")[0].start for _ in range(8)] == [120] * 4 + [220] * 4
    assert order.take("/a") is None


def test_a_job_that_is_known_by_its_index_gets_its_own_place_and_nobody_else_does():
    order = PartialOrder(WIDE)
    block, job = order.take("/a", 6)
    assert block.first + job == 6
    assert 6 not in [b.first + j for b, j in (order.take("/a") for _ in range(7))]


def test_a_job_that_was_lost_gets_its_place_back():
    order = PartialOrder(WIDE)
    taken = order.take("/a", 2)
    order.put_back(*taken)
    assert order.take("/a") == taken


def test_a_block_is_free_when_all_before_it_are_over():
    order = PartialOrder(WIDE)
    first, second = order.blocks
    assert [order.done(first) for _ in range(4)] == [[], [], [], [second]]


def test_a_step_that_is_over_keeps_nobody_waiting():
    order = PartialOrder(WIDE)
    assert order.give_up("/a") == [order.blocks[1]]
    assert all(block.over for block in order.blocks)


def test_jobs_that_wait_one_by_one_wait_for_the_blocks_with_theirs():
    made = plan([step("/a", width=8), step("/b", Dependency(step="/a", each=True), width=8)], Limits(nodes=1))
    order = PartialOrder(made)
    for block in order.steps["/b"].blocks:
        theirs = {i for b in block.each for i in range(b.first, b.first + b.count)}
        assert theirs >= set(range(block.first, block.first + block.count))


def test_what_is_late_moves_what_waits_for_it_and_what_is_early_does_too():
    order = PartialOrder(WIDE)
    for i in range(4):
        order.take("/a", i)
    first, second = order.blocks
    first.begun, first.since = 4, 150.0
    up = members(WIDE, order)
    up["cpu-1"].phase, up["cpu-1"].size = Phase.UP, 1
    Retiming(order, 0.0).look(160.0, up)
    assert second.expected == (250, 350)
    first.since = 60.0
    Retiming(order, 0.0).look(100.0, up)
    assert second.expected == (160, 260)


def test_jobs_that_run_are_expected_to_take_longer_once_some_have_deviated():
    order = PartialOrder(WIDE)
    first = order.blocks[0]
    first.begun = first.taken = 4
    retiming = Retiming(order, 0.0)
    retiming.look(150.0, members(WIDE, order))
    assert first.expected[1] == 150
    for factor in (0.5, 1.5) * 3:
        retiming.deviation.learn("/a", factor)
    retiming.look(150.0, members(WIDE, order))
    assert 180 < first.expected[1] < 250


def test_a_job_that_no_plan_knows_goes_where_it_is_bound_to():
    chosen = router(Group("a", "cpu", 1, None), Group("b", "cpu", 1, None)).choose(
        FleetJob("j", None, Needs(), "b", 0.0), 0.0
    )
    assert chosen.name == "b"


def test_a_job_that_suits_no_minicluster_gets_a_new_one_of_the_cheapest_flavour_that_does():
    assert router(Group("a", "cpu", 1, None)).choose(FleetJob("j", "/a", GPU, "a", 0.0), 0.0).flavour_name == "gpu"


def test_a_job_that_fits_on_no_flavour_has_no_minicluster():
    huge = Needs(cores_per_task=64)
    assert router(Group("a", "cpu", 1, None)).choose(FleetJob("j", "/a", huge, "a", 0.0), 0.0) is None


def test_small_commands_go_to_what_is_up():
    it = router(Group("a", "cpu", 1, None), Group("b", "cpu", 1, None))
    it._members["b"].phase = Phase.UP
    assert it.choose(FleetJob("c", None, None, "a", 0.0), 0.0).name == "b"
