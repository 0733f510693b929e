"""The fleet with a forecast, on a clock that the tests turn: MiniClusters come ahead of need and go when idle."""

import heapq
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow_fluxop.fleet.forecast import Forecast
from streamflow_fluxop.fleet.state import (
    BringUp,
    BroughtUp,
    FailJob,
    Fleet,
    Gone,
    JobAsked,
    JobEnded,
    StartJob,
    TearDown,
    Tick,
    WakeAt,
    within,
)
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Step

FLAVOURS = {
    "cpu": Flavour(cores=4, memory=4096, price=1.0, bring_up=120, tear_down=60),
    "gpu": Flavour(cores=8, memory=8192, gpus=2, price=8.0, bring_up=120, tear_down=60),
}


def step(name, *after, seconds=100, width=1, **more):
    return Step(
        name=name,
        duration=Duration(seconds=seconds),
        width=width,
        after=[a if isinstance(a, Dependency) else Dependency(step=a) for a in after],
        **more,
    )


def group(name, *steps, size=1):
    return Group(name, "gpu" if name.startswith("gpu") else "cpu", size, None, steps)


class Simulated:
    """The engine and the MiniClusters around a fleet: jobs run as long as `seconds` says, all at simulated times."""

    def __init__(self, steps, groups, limits=None, *, seconds=None, widths=None, open_ended=frozenset()):
        self.steps = {s.name: s for s in steps}
        self.group_of = {name: g.name for g in groups for name in g.steps}
        self.groups, self.limits = {g.name: g for g in groups}, limits or Limits()
        self.fleet = Fleet(groups, FLAVOURS, self.limits, Forecast(steps, groups, FLAVOURS, open_ended))
        self.seconds = seconds or {}
        self.left = {s.name: (widths or {}).get(s.name, s.width) for s in steps}
        self.asked, self.now, self.count = set(), 0.0, 0
        self.queue, self.log, self.running = [], [], {}
        self.wake = None

    def run(self):
        self.ask()
        while self.queue:
            self.now, _, event = heapq.heappop(self.queue)
            if isinstance(event, Tick) and self.wake != self.now:
                continue
            if isinstance(event, JobEnded):
                name = event.job.rsplit("/", 1)[0]
                del self.running[event.job]
                self.left[name] -= 1
            self.handle(event)
            self.ask()
        assert not any(self.left.values()), f"these never ran: {self.left}"
        return self.log

    def ask(self):
        """Ask for the jobs of every step that is ready, as the engine does, and skip the steps without jobs."""
        for name, s in self.steps.items():
            if name not in self.asked and not any(self.left[d.step] for d in s.after):
                self.asked.add(name)
                for i in range(self.left[name]):
                    if name in self.group_of:
                        self.handle(JobAsked(f"{name}/{i}", self.group_of[name], name))
                    else:
                        self.running[f"{name}/{i}"] = None
                        self.later(self.duration(name), JobEnded(f"{name}/{i}"))
                return self.ask()
        return None

    def duration(self, name):
        return self.seconds.get(name, self.steps[name].duration.seconds)

    def later(self, seconds, event):
        self.count += 1
        heapq.heappush(self.queue, (self.now + seconds, self.count, event))

    def handle(self, event):
        job = getattr(event, "job", None)
        if isinstance(event, JobEnded) and job.rsplit("/", 1)[0] not in self.group_of:
            return
        for i in self.fleet.handle(event, self.now):
            match i:
                case BringUp(name):
                    self.log.append((self.now, "up", name))
                    self.later(FLAVOURS[self.groups[name].flavour].bring_up, BroughtUp(name))
                case TearDown(name):
                    assert name not in self.running.values(), "a MiniCluster with jobs was torn down"
                    self.log.append((self.now, "down", name))
                    self.later(FLAVOURS[self.groups[name].flavour].tear_down, Gone(name))
                case StartJob(job, name):
                    assert job not in self.running
                    self.running[job] = name
                    self.later(self.duration(job.rsplit("/", 1)[0]), JobEnded(job))
                case WakeAt(when):
                    self.wake = when
                    self.later(when - self.now, Tick())
                case FailJob():
                    pytest.fail("nothing was lost")
        assert within(self.limits, FLAVOURS, self.fleet.held())


ARTICLE = [
    step("/preprocess", seconds=600, width=2),
    step("/postprocess", "/preprocess", seconds=300, width=2),
    step("/analysis", "/postprocess", seconds=1200, width=2),
    step("/visualization", "/analysis", seconds=300, width=2),
]
GROUPS = [group("cpu", "/preprocess", "/postprocess", "/visualization"), group("gpu", "/analysis")]


def test_the_articles_workflow_takes_three_miniclusters_each_just_in_time():
    assert Simulated(ARTICLE, GROUPS).run() == [
        (0, "up", "cpu"),
        (900, "up", "gpu"),
        (1020, "down", "cpu"),
        (2100, "up", "cpu"),
        (2220, "down", "gpu"),
        (2520, "down", "cpu"),
    ]


def test_a_minicluster_is_kept_where_its_next_use_is_near():
    steps = [step("/a"), step("/b", "/a", seconds=170), step("/c", "/b")]
    log = Simulated(steps, [group("cpu", "/a", "/c"), group("gpu", "/b")]).run()
    assert [e for e in log if e[2] == "cpu"] == [(0, "up", "cpu"), (490, "down", "cpu")]


def test_a_minicluster_that_is_idle_for_longer_than_foreseen_goes_and_comes_back_when_it_is_asked_for():
    steps = [step("/a"), step("/b", "/a", seconds=100), step("/c", "/b")]
    log = Simulated(steps, [group("cpu", "/a", "/c"), group("gpu", "/b")], seconds={"/b": 1000}).run()
    assert [e[:2] for e in log if e[2] == "cpu"] == [(0, "up"), (400, "down"), (1220, "up"), (1440, "down")]


def test_a_step_whose_jobs_nobody_has_counted_is_over_when_nothing_comes_for_a_while():
    steps = [step("/a"), step("/b", "/a", width_source="assumed"), step("/c", "/b", seconds=1000)]
    groups = [group("cpu", "/a", "/b"), group("gpu", "/c")]
    assert (500, "down", "cpu") in Simulated(steps, groups, widths={"/b": 3}).run()


def test_nothing_comes_up_ahead_for_a_step_that_may_be_skipped():
    steps = [step("/a", seconds=1000), step("/b", "/a")]
    groups = [group("cpu", "/a"), group("gpu", "/b")]
    assert (1000, "up", "gpu") in Simulated(steps, groups).run()
    log = Simulated(steps, groups, widths={"/b": 0}, open_ended=frozenset({"/b"})).run()
    assert all(name == "cpu" for _, _, name in log)


def test_steps_that_run_elsewhere_are_reckoned_with():
    steps = [step("/a"), step("/elsewhere", "/a", seconds=5000, controller=True), step("/c", "/elsewhere")]
    log = Simulated(steps, [group("cpu", "/a", "/c")]).run()
    assert log == [(0, "up", "cpu"), (220, "down", "cpu"), (5100, "up", "cpu"), (5320, "down", "cpu")]


def test_what_comes_ahead_never_drives_out_what_is_there():
    log = Simulated(ARTICLE, GROUPS, Limits(nodes=1)).run()
    assert log == [
        (0, "up", "cpu"),
        (1020, "down", "cpu"),
        (1080, "up", "gpu"),
        (2400, "down", "gpu"),
        (2460, "up", "cpu"),
        (2880, "down", "cpu"),
    ]


def test_the_next_use_of_a_group_follows_what_happens():
    forecast = Forecast(ARTICLE, GROUPS, FLAVOURS)
    assert forecast.next_use("gpu", 0) == 900
    assert not forecast.foreseeable("gpu", 0)
    for i in range(2):
        forecast.asked(f"p{i}", "/preprocess", 0)
    assert forecast.next_use("gpu", 0) == 1020, "its MiniCluster comes up first"
    forecast.started("/preprocess", 100)
    assert forecast.next_use("gpu", 100) == 1000
    assert forecast.next_use("gpu", 900) == 1200, "it takes longer than estimated"
    for i in range(2):
        forecast.ended(f"p{i}", "/preprocess", 950)
    for i in range(2):
        forecast.asked(f"q{i}", "/postprocess", 950)
    forecast.started("/postprocess", 950)
    assert forecast.next_use("gpu", 950) == 1250
    assert forecast.foreseeable("gpu", 950)


def test_a_group_whose_steps_are_over_is_never_used_again():
    forecast = Forecast([step("/a")], [group("cpu", "/a")], FLAVOURS)
    forecast.asked("a", "/a", 0)
    forecast.ended("a", "/a", 100)
    assert forecast.next_use("cpu", 100) == inf


@st.composite
def worlds(draw):
    """A random workflow on random groups; jobs run for other times than estimated, some steps have other widths."""
    count = draw(st.integers(1, 8))
    names = [f"/s{i}" for i in range(count)]
    steps = []
    for i, name in enumerate(names):
        after = draw(st.lists(st.sampled_from(names[:i]), unique=True, max_size=3)) if i else []
        source = draw(st.sampled_from(["inputs", "assumed"]))
        steps.append(
            step(name, *after, seconds=draw(st.integers(0, 500)), width=draw(st.integers(1, 4)), width_source=source)
        )
    groups = {n: [] for n in ("cpu", "cpu-2", "gpu", "elsewhere")}
    for name in names:
        groups[draw(st.sampled_from(sorted(groups)))].append(name)
    made = [group(n, *s, size=draw(st.integers(1, 2))) for n, s in groups.items() if s and n != "elsewhere"]
    return Simulated(
        steps,
        made,
        Limits(nodes=draw(st.integers(2, 4)), miniclusters=draw(st.none() | st.integers(1, 3))),
        seconds={n: draw(st.integers(0, 2000)) for n in names},
        widths={s.name: draw(st.integers(0, 5)) for s in steps if s.width_source == "assumed"},
        open_ended=frozenset(s.name for s in steps if s.width_source == "assumed"),
    )


@settings(max_examples=300)
@given(world=worlds())
def test_whatever_deviates_every_job_runs_once_within_the_limits_and_everything_is_down_at_the_end(world):
    log = world.run()
    assert world.fleet.held() == []
    assert sum(what == "up" for _, what, _ in log) == sum(what == "down" for _, what, _ in log)
    assert len(log) <= 4 * len(world.asked) + 2, "up and down without end"
