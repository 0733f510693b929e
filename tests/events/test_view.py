"""The view of a run against what a plain recomputation from the events says."""

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop import events as e
from streamflow_fluxop.events.expected_end import Outlook, far_beyond
from streamflow_fluxop.events.run_state import RecordedPhase
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Needs, Problem, Step, Workflow
from streamflow_fluxop.planning import solve

FLAVOURS = {
    "cpu": Flavour(cores=4, memory=8192, price=1, bring_up=60, tear_down=30),
    "gpu": Flavour(cores=8, memory=32768, gpus=2, price=8, bring_up=60, tear_down=30),
}


class History:
    """A random run: what may happen next follows from what has happened."""

    def __init__(self, draw):
        self.draw, self.now, self.events = draw, 0.0, []
        self.up, self.jobs, self.number = {}, {}, 0
        self.add(e.FleetStarted(flavours=FLAVOURS))
        for _ in range(draw(st.integers(0, 25))):
            self.now += draw(st.sampled_from([0.0, 1.0, 7.5]))
            draw(st.sampled_from([self.minicluster, self.job, self.job]))()

    def add(self, event):
        self.events.append(event.model_copy(update={"at": self.now, "deployment": "fleet"}))

    def minicluster(self):
        name = self.draw(st.sampled_from("abc"))
        stage = self.up.get(name)
        if stage is None:
            flavour, size = self.draw(st.sampled_from(sorted(FLAVOURS))), self.draw(st.integers(1, 4))
            self.add(e.MiniClusterAsked(minicluster=name, flavour=flavour, size=size, max_size=8))
            self.up[name] = "coming"
        elif stage == "coming":
            self.up[name] = self.draw(st.sampled_from(["up", "lost"]))
            lost = e.MiniClusterLost(minicluster=name, reason="no node")
            self.add(e.MiniClusterUp(minicluster=name, seconds=1, nodes=1) if self.up[name] == "up" else lost)
        elif stage == "up":
            self.up[name] = self.draw(st.sampled_from(["resizing", "going"]))
            resizing = e.MiniClusterResizing(minicluster=name, size=self.draw(st.integers(1, 8)))
            self.add(resizing if self.up[name] == "resizing" else e.MiniClusterTearingDown(minicluster=name))
        elif stage == "resizing":
            self.up[name] = "up"
            self.add(e.MiniClusterResized(minicluster=name, size=self.draw(st.integers(1, 8))))
        elif stage == "lost":
            self.up[name] = "going"
            self.add(e.MiniClusterTearingDown(minicluster=name, reason="to clear away"))
        else:
            del self.up[name]
            self.add(e.MiniClusterGone(minicluster=name))

    def job(self):
        if not self.jobs or self.draw(st.booleans()):
            name, self.number = f"/s/{self.number}", self.number + 1
            where = self.draw(st.sampled_from("abc"))
            self.jobs[name] = ("asked", where)
            self.add(e.JobAsked(job=name, step="/s", minicluster=where, cores=self.draw(st.integers(1, 4))))
            return
        name = self.draw(st.sampled_from(sorted(self.jobs)))
        stage, where = self.jobs[name]
        if stage == "asked" and self.up.get(where) == "up":
            self.jobs[name] = ("submitted", where)
            self.add(e.JobSubmitted(job=name, minicluster=where))
        elif stage == "submitted":
            self.jobs[name] = ("started", where)
            self.add(e.JobStarted(job=name))
        else:
            del self.jobs[name]
            code = self.draw(st.sampled_from([0, 0, 1, None]))
            self.add(e.JobEnded(job=name, exit_code=code, reason=None if code is not None else "cancelled"))


@st.composite
def histories(draw):
    return History(draw)


def jobs_by_recount(history):
    asked = [x.job for x in history if isinstance(x, e.JobAsked)]
    started = {x.job for x in history if isinstance(x, e.JobStarted)}
    ended = {x.job: x.exit_code for x in history if isinstance(x, e.JobEnded)}
    return Counter(
        ("done" if ended[j] == 0 else "failed") if j in ended else "running" if j in started else "queued"
        for j in asked
    )


def nodes_held_by_recount(history):
    """By flavour, at the end: where a resize is under way, the larger of both sizes."""
    held = {}
    for x in history:
        if isinstance(x, e.MiniClusterAsked):
            held[x.minicluster] = [x.flavour, x.size, x.size]
        elif isinstance(x, e.MiniClusterResizing):
            held[x.minicluster][2] = max(held[x.minicluster][1], x.size)
        elif isinstance(x, e.MiniClusterResized):
            held[x.minicluster][1:] = [x.size, x.size]
        elif isinstance(x, e.MiniClusterGone):
            del held[x.minicluster]
    nodes = Counter()
    for flavour, _, size in held.values():
        nodes[flavour] += size
    return nodes


@given(histories())
def test_jobs_limits_and_cost_are_those_of_a_recount(history):
    fleet = RunView(history.events).fleets["fleet"]
    counts = fleet.counts
    expected = jobs_by_recount(history.events)
    for word in ("queued", "running", "done", "failed"):
        assert getattr(counts, word) == expected[word]
    nodes = nodes_held_by_recount(history.events)
    use = fleet.use()
    assert use["nodes"] == nodes.total()
    assert use["gpus"] == 2 * nodes["gpu"]
    assert use["miniclusters"] == len(history.up)
    cost = node_seconds = 0.0
    end = history.now + 10
    times = [x.at for x in history.events]
    for number, (start, stop) in enumerate(zip(times, [*times[1:], end], strict=True)):
        nodes = nodes_held_by_recount(history.events[: number + 1])
        node_seconds += nodes.total() * (stop - start)
        cost += (nodes["cpu"] + 8 * nodes["gpu"]) * (stop - start) / 3600
    assert fleet.node_seconds(end) == pytest.approx(node_seconds)
    assert fleet.cost(end) == pytest.approx(cost)


@given(histories())
def test_every_minicluster_is_where_its_events_say_and_no_cores_are_left_over(history):
    fleet = RunView(history.events).fleets["fleet"]
    stages = {
        "coming": RecordedPhase.COMING,
        "up": RecordedPhase.UP,
        "resizing": RecordedPhase.UP,
        "lost": RecordedPhase.GOING,
        "going": RecordedPhase.GOING,
    }
    assert {m.name: m.stage for m in fleet.held} == {name: stages[s] for name, s in history.up.items()}
    for life in fleet.lives:
        own = [j for j in fleet.jobs if j.minicluster is life]
        assert life.jobs.all == len(own)
        assert life.cores_busy == sum(j.cores for j in own if j.started is not None and j.ended is None)


@given(histories(), st.integers(0, 25))
def test_a_fold_in_two_pieces_is_the_fold_of_the_whole(history, cut):
    view = RunView(history.events[:cut])
    view.take(history.events[cut:])
    assert view.fleets["fleet" if history.events else ""] == RunView(history.events).fleets["fleet"]


@pytest.fixture(scope="module")
def plan():
    """A -> b, 100 s each, on one node that takes 60 s to come up."""
    steps = [
        Step(name="a", duration=Duration(seconds=100), needs=Needs()),
        Step(name="b", duration=Duration(seconds=100), after=[Dependency(step="a")]),
    ]
    return solve(Problem(workflow=Workflow(steps=steps), flavours=FLAVOURS, limits=Limits(nodes=2)), time_limit=0.5)


def left(plan, now, *happened):
    """Seconds left at `now`, after (at, event)s."""
    view = RunView([e.FleetStarted(deployment="fleet", flavours=FLAVOURS, plan=plan)])
    view.take(event.model_copy(update={"at": at, "deployment": "fleet"}) for at, event in happened)
    return Outlook(plan).seconds_left(view.fleets["fleet"], now)


def test_far_beyond_is_twice_as_long_and_a_minute_more():
    assert far_beyond(Duration(seconds=5)) == 65
    assert far_beyond(Duration(seconds=3600)) == 7200
    assert far_beyond(Duration(seconds=3600, spread=600)) == 2 * 4800


def test_what_is_left_moves_with_what_happens(plan):
    asked = [(0, e.JobAsked(job="a.0", step="a")), (0, e.JobAsked(job="b.0", step="b"))]
    start, stop = (70, e.JobStarted(job="a.0")), (150, e.JobEnded(job="a.0", exit_code=0))
    assert left(plan, 0) == 260
    assert left(plan, 50) == 210, "all as planned"
    assert left(plan, 80) == 200, "it should have begun 20 s ago"
    assert left(plan, 80, *asked, start) == 190, "it began 10 s late"
    assert left(plan, 200, *asked, start) == 100, "it should be over by now"
    assert left(plan, 150, *asked, start, stop) == 100, "it was quick"
    assert left(plan, 250, *asked, start, stop, (151, e.JobStarted(job="b.0"))) == 1
    over = [(151, e.JobStarted(job="b.0")), (249, e.JobEnded(job="b.0", exit_code=0))]
    assert left(plan, 250, *asked, start, stop, *over) == 0


def test_a_node_is_busy_when_its_gpus_are_or_a_job_spans_it():
    def life(*jobs):
        found = [e.FleetStarted(flavours=FLAVOURS), e.MiniClusterAsked(minicluster="a", flavour="gpu", size=4)]
        found.append(e.MiniClusterUp(minicluster="a", seconds=1, nodes=4))
        for name, about in enumerate(jobs):
            found += [
                e.JobAsked(job=str(name), step="/s", minicluster="a", **about),
                e.JobSubmitted(job=str(name), minicluster="a"),
                e.JobStarted(job=str(name)),
            ]
        view = RunView(event.model_copy(update={"deployment": "fleet"}) for event in found)
        return view.fleets["fleet"].current["a"].nodes_busy(FLAVOURS["gpu"])

    assert life() == 0
    assert life({"cores": 8}, {"cores": 1}) == 2
    assert life({"cores": 1, "gpus": 2}, {"cores": 1, "gpus": 1}) == 2
    assert life({"cores": 3, "nodes": 3}) == 3
    assert life({"cores": 8, "gpus": 2}, {"cores": 8, "gpus": 2, "nodes": 9}) == 4, "there are no more"


def test_where_nodes_are_counted_those_that_are_there_are_paid():
    said = [
        (0, e.FleetStarted(flavours=FLAVOURS)),
        (1, e.MiniClusterAsked(minicluster="a", flavour=next(iter(FLAVOURS)), size=2)),
        (1, e.MiniClusterNodes(minicluster="a", nodes=0)),
        (11, e.MiniClusterNodes(minicluster="a", nodes=2)),
        (12, e.MiniClusterUp(minicluster="a", seconds=11, nodes=2)),
        (13, e.MiniClusterResizing(minicluster="a", size=3)),
        (15, e.MiniClusterNodes(minicluster="a", nodes=3)),
        (20, e.MiniClusterNodes(minicluster="a", nodes=0)),
        (21, e.MiniClusterGone(minicluster="a")),
    ]
    view = RunView(event.model_copy(update={"at": at}) for at, event in said[:6])
    (fleet,) = view.fleets.values()
    assert fleet.node_seconds(13) == 4
    assert fleet.use()["nodes"] == 3, "limits count what is asked for"
    view.take(event.model_copy(update={"at": at}) for at, event in said[6:])
    assert fleet.node_seconds(30) == 2 * 4 + 3 * 5


def test_every_kind_of_event_can_be_viewed():
    """The log has it, so whoever looks at the run meets it."""
    kinds = {kind.__name__ for kind in RunView()._fold}
    assert kinds == {kind.__name__ for kind in get_args(e.Event)}
    RunView([e.ImageGot(deployment="fleet", image="a")])
