"""Small worlds: workflows in a few words, their plans, and random ones."""

from hypothesis import strategies as st

from streamflow_fluxop.model import (
    Assignment,
    Bounds,
    Dependency,
    Duration,
    Flavour,
    Limits,
    Needs,
    Plan,
    PlannedMiniCluster,
    Problem,
    Step,
    StepEstimate,
    Workflow,
)
from streamflow_fluxop.orchestration.simulation.simulated import Chance
from streamflow_fluxop.orchestration.simulation.simulator import Simulation
from streamflow_fluxop.planning import solve
from streamflow_fluxop.verification.verify import verify

FLAVOURS = {
    "cpu": Flavour(cores=4, memory=4096, price=1.0, bring_up=120, tear_down=60),
    "gpu": Flavour(cores=8, memory=8192, gpus=2, price=8.0, bring_up=120, tear_down=60),
}
STRATEGIES = ["by-level", "per-step", "per-task"]
"""Those that plan in no time."""

GPU = Needs(gpus_per_task=1)


def step(name, *after, seconds=100, spread=0, **more):
    return Step(
        name=name,
        duration=Duration(seconds=seconds, spread=spread),
        after=[a if isinstance(a, Dependency) else Dependency(step=a) for a in after],
        **more,
    )


ARTICLE = [
    step("/preprocess", seconds=600, width=2),
    step("/postprocess", "/preprocess", seconds=300, width=2),
    step("/analysis", "/postprocess", seconds=1200, width=2, needs=GPU),
    step("/visualization", "/analysis", seconds=300, width=2),
]


def plan(steps, limits=None, strategy="auto", flavours=FLAVOURS):
    problem = Problem(workflow=Workflow(steps=steps), flavours=flavours, limits=limits or Limits())
    return solve(problem, strategy=strategy, time_limit=0.05)


def plan_by_hand(steps, *placed):
    """A plan as the planner makes it where it has no time: of (step, first job, jobs, MiniCluster, start, end).

    A MiniCluster is its one node, named after the flavour, and there from its first job to its last.
    """
    miniclusters = []
    for name in dict.fromkeys(where for _, _, _, where, _, _ in placed if where):
        flavour = FLAVOURS[name.split("-")[0]]
        there = [(one, start, end) for one, _, _, where, start, end in placed if where == name]
        ready, released = min(start for _, start, _ in there), max(end for _, _, end in there)
        asked, gone = ready - flavour.bring_up, released + flavour.tear_down
        miniclusters.append(
            PlannedMiniCluster(
                name=name, flavour=name.split("-")[0], size=1, max_size=1, asked=asked, ready=ready, released=released,
                gone=gone, node_seconds=gone - asked, cost=(gone - asked) * flavour.price / 3600,
                steps=list(dict.fromkeys(one for one, _, _ in there)),
            )
        )  # fmt: skip
    made = Plan(
        problem=Problem(workflow=Workflow(steps=steps), flavours=FLAVOURS),
        strategy="list",
        miniclusters=miniclusters,
        assignments=[
            Assignment(step=one, first=i, count=n, minicluster=m, start=start, end=end, nodes=[0] * n if m else [])
            for one, i, n, m, start, end in placed
        ],
        steps=[
            StepEstimate(
                step=s.name,
                start=min(start for one, _, _, _, start, _ in placed if one == s.name),
                end=max(end for one, _, _, _, _, end in placed if one == s.name),
            )
            for s in steps
        ],
        cost=sum(m.cost for m in miniclusters),
        makespan=max(end for *_, end in placed),
        node_seconds=sum(m.node_seconds for m in miniclusters),
        score=1,
        bounds=Bounds(cost=0, makespan=0, score=1),
        gap=0,
    )
    assert verify(made) == []
    return made


def assert_who_waits_has_a_reason(fleet, now):
    """No job is ready beside a node of its pool that is free, that it fits on, and that is kept for nobody.

    What the fleet says to that is looked at: whoever a node is kept for is still to come there, and would be late.
    """
    waiting = fleet.waiting(now)
    for own in fleet.members.values():
        for job in own.queue.in_order():
            for member in own.pool.members:
                if member.usable and member.nodes.with_room(job.load.parts[-1], member.usable, job.load.alone):
                    cause = waiting.cause(job, member)
                    where = f"{job.name} at {now:g} s beside free nodes of {member.name}"
                    assert cause is not None, where
                    assert _is_true(cause, job, member, fleet, now), f"{where}: {cause}"


def _is_true(cause, job, member, fleet, now):
    parts = job.load.parts
    room = member.nodes.with_room(parts[-1], member.usable, job.load.alone)
    match cause.reason:
        case "size":
            return len(room) < len(parts)
        case "planned":
            return not fleet._order.deviated
        case "leaving":
            uses = [member.use_of(rank) for rank in room]
            return any(u is None or not u.block.gaps.get(r, (0, True))[1] for r, u in zip(room, uses, strict=True))
        case "queue":
            return cause.keeper.waits and cause.keeper is not job
        case "reserved" if cause.block is not None:
            block = cause.block
            idle = {r: now - member.idle_since[r] for r in room if not member.nodes.jobs[r]}
            ranks = [r for r in room if r in block.ranks and idle.get(r, 0.0) <= member.break_even + 1e-6]
            before = (fleet._jobs.retiming.began + block.start, block.index) < (
                job.key,
                job.block.index if job.block else -1,
            )
            late = now + (job.seconds or 0.0) > block.expected[0]
            return ranks and block in member.blocks and block.left > block.begun and before and late
        case "reserved":
            return cause.keeper.waits and cause.keeper.tail >= job.tail
    return False


def lives(outcome):
    """(name, asked, released) of each life, in order."""
    return sorted((life.name, round(life.asked), round(life.released)) for life in outcome.lives)


@st.composite
def workflows(draw, most=7):
    """A random workflow with its limits, in which each step fits."""
    steps = []
    for i in range(draw(st.integers(1, most))):
        names = [s.name for s in steps]
        after = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        width = draw(st.integers(1, 5))
        each = {s.name for s in steps if s.width == width and not s.controller}
        needs = draw(
            st.sampled_from(
                [Needs(), Needs(cores_per_task=2, memory=1024), GPU, Needs(tasks=2, nodes=2), Needs(exclusive=True)]
            )
        )
        steps.append(
            step(
                f"/s{i}",
                *(Dependency(step=a, each=a in each and draw(st.booleans())) for a in after),
                seconds=draw(st.sampled_from([1, 10, 50, 100, 400, 2000])),
                width=width,
                needs=needs,
                image=draw(st.sampled_from([None, None, "other"])),
                controller=draw(st.integers(0, 9)) == 0,
            )
        )
    limits = Limits(
        nodes=draw(st.none() | st.integers(2, 6)),
        miniclusters=draw(st.none() | st.none() | st.integers(1, 3)),
    )
    return steps, limits


@st.composite
def histories(draw):
    """A random plan, and a random history for it."""
    steps, limits = draw(workflows())
    made = plan(steps, limits, draw(st.sampled_from(STRATEGIES)))
    vague = {s.name for s in steps if draw(st.integers(0, 4)) == 0 and not s.controller}
    troubled = draw(st.booleans())
    return Simulation(
        made,
        Chance(
            noise=draw(st.sampled_from([0.0, 0.3, 1.0, 3.0])),
            bring_up_noise=draw(st.sampled_from([0.0, 0.3, 1.0])),
            failures=0.1 if troubled else 0.0,
            losses=0.2 if troubled else 0.0,
            seed=draw(st.integers(0, 10**6)),
        ),
        widths={name: draw(st.integers(0, 8)) for name in sorted(vague)},
        open_ended=frozenset(name for name in sorted(vague) if draw(st.booleans())),
        resizes=draw(st.integers(0, 3)) > 0,
    )
