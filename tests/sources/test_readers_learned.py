"""Durations by step, tool, needs and size of inputs; bring-ups with the configured value as one voice among others."""

import random

import pytest

from streamflow_fluxop.events.index import PastLife, PastStep
from streamflow_fluxop.model import Duration, Flavour, Needs, Step
from streamflow_fluxop.sources.learned_estimates import by_size, learn, learned_flavours, with_learned

CPU = Flavour(cores=4, memory=8192, bring_up=60, tear_down=30)


def step(source="assumed", seconds=60.0, **fields):
    return Step(name="/s", tool="s.cwl 1", duration=Duration(seconds=seconds, source=source), **fields)


def past(*seconds, log="1", tool="s.cwl 1", cores=1, sizes=None):
    sample = tuple(zip(seconds, sizes or [None] * len(seconds), strict=True))
    return PastStep(log, "/w/wf.cwl", "/s", tool, (1, cores, 0), None, len(seconds), None, sample)


def seconds_of(*rows, of=None, **options):
    known = learn(of or step(), rows, [CPU], **options)
    return known and known.duration.seconds


def test_the_median_of_all_runs_and_its_spread():
    known = learn(step(), [past(10, 20, log="2"), past(60)], [CPU])
    assert known.duration == Duration(seconds=20, spread=26.458, source="history")
    assert (known.jobs, known.runs) == (3, 2)


def test_jobs_with_the_same_needs_count_where_there_are_any():
    assert seconds_of(past(10), past(99, cores=4)) == 10
    assert seconds_of(past(10), past(99, cores=4), of=step(needs=Needs(cores_per_task=4))) == 99
    assert seconds_of(past(10), of=step(needs=Needs(cores_per_task=2))) == 10


def test_jobs_of_the_very_tool_count_where_there_are_any():
    assert seconds_of(past(10), past(99, tool="s.cwl 2")) == 10
    assert seconds_of(past(99, tool="s.cwl 2")) == 99


def test_only_the_newest_runs_count():
    assert seconds_of(*[past(5, log=str(n)) for n in range(40, 15, -1)], *[past(500, log="1")] * 99) == 5


def test_where_size_explains_the_time_the_estimate_is_by_size():
    rng = random.Random(0)
    sizes = [rng.randrange(10**6, 10**9) for _ in range(40)]
    rows = [past(*[3 + size / 1e7 * rng.uniform(0.9, 1.1) for size in sizes], sizes=sizes)]
    known = learn(step(), rows, [CPU], lambda: (10**9, 10**9))
    assert known.by_size
    assert known.duration.seconds == pytest.approx(103, rel=0.05)
    assert seconds_of(*rows, sizes=lambda: (10**8,)) == pytest.approx(13, rel=0.15)
    assert not learn(step(), rows, [CPU]).by_size


def test_where_size_explains_nothing_the_estimate_is_the_median():
    rng = random.Random(0)
    pairs = [(rng.uniform(50, 60), rng.randrange(10**6, 10**9)) for _ in range(40)]
    assert by_size(pairs) is None


def test_an_estimate_by_size_stays_near_what_was_seen():
    sizes = [10**6 * n for n in range(1, 21)]
    rows = [past(*[size / 1e5 for size in sizes], sizes=sizes)]
    assert seconds_of(*rows, sizes=lambda: (10**12,)) == 2 * 200


def test_what_was_measured_in_this_workflow_wins_over_a_hint_and_what_was_elsewhere_does_not():
    here, there = learn(step(), [past(5)], [CPU]), learn(step(), [past(5)], [CPU], same_step=False)
    assert there.duration.source == "tool history"
    for source, own, other in (("hint", 5, 60), ("assumed", 5, 5), ("document", 5, 60)):
        assert with_learned([step(source)], {"/s": here})[0][0].duration.seconds == own
        assert with_learned([step(source)], {"/s": there})[0][0].duration.seconds == other


def test_no_job_is_expected_to_exceed_its_time_limit():
    (told,), _ = with_learned([step("time limit", 60)], {"/s": learn(step(), [past(500)], [CPU])})
    assert (told.duration.seconds, told.duration.source) == (60, "history")


class Lives:
    def __init__(self, *ups):
        self.ups = ups

    def lives(self, cluster, flavour, images):
        return [PastLife(flavour, None, up, up / 10) for up in self.ups]


@pytest.mark.parametrize(
    ("seen", "bring_up", "tear_down"), [((), 60, 30), ((10,), 35, 15.5), ((10, 12), 12, 1.2), ((10, 12, 14), 13, 1.3)]
)
def test_the_configured_bring_up_is_one_voice_among_those_that_were_seen(seen, bring_up, tear_down):
    flavours, told = learned_flavours(Lives(*seen), "local", {"cpu": CPU}, [None])
    assert (flavours["cpu"].bring_up, flavours["cpu"].tear_down) == (bring_up, pytest.approx(tear_down))
    assert bool(told) == bool(seen)
