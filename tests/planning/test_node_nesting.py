"""Which nodes make up a MiniCluster, where it is not certain who is over first."""

import pytest
from planning_worlds import CPU, workflow

from streamflow_fluxop.model import Duration, Needs, Problem
from streamflow_fluxop.planning import solve
from streamflow_fluxop.verification import verify

NODE = Needs(exclusive=True)


def planned(text, **steps):
    """The plan of steps whose jobs take a node each, with (seconds, spread)."""
    settings = {name: {"duration": Duration(seconds=s, spread=d), "needs": NODE} for name, (s, d) in steps.items()}
    plan = solve(Problem(workflow=workflow(text, **settings), flavours={"cpu": CPU}), time_limit=0.05)
    assert verify(plan) == []
    return plan


def sizes(plan):
    return sorted(max([m.size, *(r.size for r in m.resizes)]) for m in plan.miniclusters)


def test_nodes_share_a_minicluster_where_durations_are_certain():
    assert sizes(planned("a x6", a=(1000, 0))) == [6]


def test_long_jobs_with_a_spread_do_not_keep_each_others_nodes():
    certain, uncertain = planned("a x6", a=(1000, 0)), planned("a x6", a=(1000, 600))
    assert sizes(uncertain) == [1] * 6
    assert (uncertain.cost, uncertain.makespan) == pytest.approx((certain.cost, certain.makespan))


def test_jobs_with_a_small_spread_share_a_minicluster():
    assert sizes(planned("a x6", a=(300, 15))) == [6]


def test_a_node_that_is_over_long_before_the_others_joins_them():
    plan = planned("start -> long; start -> short", start=(1, 0), long=(9000, 600), short=(500, 100))
    assert sizes(plan) == [2]
