"""How far jobs deviate, and what that makes of the others: against random samples."""

from math import log, sqrt
from random import Random
from statistics import mean, pvariance

import pytest
from fleet_worlds import plan, step

from streamflow_fluxop.model import Duration, Flavour, Limits
from streamflow_fluxop.normal_times import later
from streamflow_fluxop.orchestration.decisions.deviation import NONE, Deviation, left, length
from streamflow_fluxop.orchestration.simulation.simulated import Chance
from streamflow_fluxop.orchestration.simulation.simulator import Simulation

SPREAD = 0.3
SIGMA = sqrt(log(1 + SPREAD**2))
RNG = Random(7)
SAMPLE = [RNG.lognormvariate(-SIGMA * SIGMA / 2, SIGMA) for _ in range(40_000)]


@pytest.mark.parametrize("done", [0.0, 0.5, 0.9, 1.2, 1.8])
def test_what_remains_of_a_job_is_the_mean_of_those_that_are_not_over_by_then(done):
    remains = [x - done for x in SAMPLE if x > done]
    expected, variance = left(100.0, SPREAD, done * 100)
    assert expected == pytest.approx(100 * mean(remains), rel=0.1)
    assert variance == pytest.approx(10_000 * pvariance(remains), rel=0.25)


def test_a_job_that_is_far_overdue_takes_longer_the_longer_it_has_been():
    assert left(100.0, SPREAD, 400.0)[0] < left(100.0, SPREAD, 800.0)[0]


@pytest.mark.parametrize("jobs", [1, 2, 10, 50])
def test_the_longest_of_many_jobs_takes_longer(jobs):
    longest = [max(SAMPLE[i : i + jobs]) for i in range(0, len(SAMPLE) - jobs, jobs)]
    assert length(100.0, SPREAD, jobs)[0] == pytest.approx(100 * mean(longest), rel=0.1)


@pytest.mark.parametrize("apart", [0.0, 1.0, 5.0])
def test_the_later_of_two_uncertain_times_is_the_mean_of_maxima(apart):
    sample = [max(RNG.gauss(10, 1), RNG.gauss(10 + apart, 2)) for _ in range(40_000)]
    expected, variance = later((10.0, 1.0), (10.0 + apart, 4.0))
    assert expected == pytest.approx(mean(sample), abs=0.05)
    assert variance == pytest.approx(pvariance(sample), rel=0.05)


def test_certain_times_have_their_plain_maximum():
    assert later((3.0, 0.0), (5.0, 0.0)) == (5.0, 0.0)


def test_nothing_deviates_before_a_job_does():
    deviation = Deviation()
    deviation.learn("/a", 1 + NONE / 2)
    assert deviation.spread == 0
    deviation.learn("/a", 1.4)
    assert deviation.spread > 0


def test_the_spread_of_many_jobs_is_learnt():
    deviation = Deviation()
    for factor in SAMPLE[:500]:
        deviation.learn("/a", factor)
    assert deviation.spread == pytest.approx(SPREAD, rel=0.1)


def test_a_spread_that_is_stated_counts_for_its_own_step_only_once_a_job_deviates():
    deviation = Deviation()
    told = step("/a", spread=50)
    assert (deviation.of(told), deviation.of(step("/b"))) == (0, 0)
    deviation.learn("/a", 1.2)
    assert (deviation.of(told), deviation.of(step("/b"))) == (0.5, deviation.spread)


def test_small_deviations_leave_the_plan_as_it_is_and_large_ones_do_not():
    deviation = Deviation()
    for factor in (1.02, 0.95, 1.04):
        deviation.learn("/a", factor)
    assert not deviation.large
    deviation.learn("/a", 1.6)
    assert deviation.large


def test_one_job_that_is_far_off_says_little_where_the_spread_is_stated_to_be_small():
    steps = [step("a").model_copy(update={"duration": Duration(seconds=100, spread=2)}), step("b")]
    stated, unknown = Deviation(steps), Deviation()
    for deviation in (stated, unknown):
        deviation.learn("/a", 1.3)
    assert unknown.large
    assert not stated.large


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_a_little_off_its_plan_costs_a_little_more_or_less(seed):
    """Short jobs on a second node that goes soon, long ones after each other on the first: no other way is cheaper."""
    steps = [step("/whole", seconds=1000), *(step(f"/part-{s}", seconds=s) for s in (300, 350, 345))]
    steps += [step(f"/short-{s}", seconds=s) for s in (50, 51)]
    flavours = {"node": Flavour(cores=2, memory=4096, price=1.0, bring_up=20, tear_down=10)}
    made = plan(steps, Limits(nodes=2), flavours=flavours)
    run = Simulation(made, Chance(noise=0.02, seed=seed)).run()
    assert run.cost == pytest.approx(made.cost, rel=0.05)
    assert run.makespan == pytest.approx(made.makespan, rel=0.05)
