"""Small worlds for the planner's tests: `workflow("a -> b x3 -> c")`, and generated ones."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Needs, Objective, Problem, Step, Workflow

CPU = Flavour(cores=4, memory=16384, price=3600, bring_up=120, tear_down=60)
GPU = Flavour(cores=4, memory=16384, gpus=1, price=28800, bring_up=120, tear_down=60)


def workflow(text: str, seconds: float = 100, **settings: dict[str, object]) -> Workflow:
    """Steps from arrows: `a -> b x3 -> c; a -> d`. `=>` is job by job. Keywords set a step's other fields."""
    widths: dict[str, int] = {}
    after: dict[str, list[Dependency]] = {}
    for chain in text.split(";"):
        parts = re.split(r"(->|=>)", chain)
        before = None
        for part, arrow in zip(parts[::2], [None, *parts[1::2]], strict=True):
            name, *width = part.split()
            if width:
                widths[name] = int(width[0][1:])
            after.setdefault(name, [])
            if before:
                after[name].append(Dependency(step=before, each=arrow == "=>"))
            before = name
    steps = []
    for name, dependencies in after.items():
        fields = {"duration": Duration(seconds=seconds), **settings.get(name, {})}
        steps.append(Step(name=name, width=widths.get(name, 1), after=dependencies, **fields))
    return Workflow(steps=steps)


def takes(seconds: float, **needs: object) -> dict[str, object]:
    """A step's duration and needs."""
    return {"duration": Duration(seconds=seconds), "needs": Needs(**needs)}


def article(**objective: object) -> Problem:
    """The example of the article: two jobs, four steps."""
    return Problem(
        workflow=workflow(
            "preprocess x2 => postprocess x2 => analysis x2 => visualization x2",
            preprocess=takes(600, cores_per_task=4),
            postprocess=takes(300, cores_per_task=4),
            analysis=takes(1200, gpus_per_task=1),
            visualization=takes(300, cores_per_task=2),
        ),
        flavours={"cpu": CPU, "gpu": GPU},
        limits=Limits(nodes=4),
        objective=Objective(**objective),
    )


FLAVOURS = {
    "small": Flavour(cores=2, memory=4096, price=1, bring_up=30, tear_down=20),
    "large": Flavour(cores=16, memory=65536, price=7, bring_up=60, tear_down=30),
    "gpu": Flavour(cores=8, memory=32768, gpus=2, price=20, bring_up=90.5, tear_down=60),
    "free": Flavour(cores=4, memory=8192, bring_up=0, tear_down=0),
}


@st.composite
def needs(draw: st.DrawFn) -> Needs:
    """Needs that fit on one of the flavours, most on several."""
    if draw(st.integers(0, 3)) == 0:
        nodes = draw(st.integers(1, 3))
        return Needs(
            nodes=nodes,
            tasks=draw(st.integers(nodes, 2 * nodes + 1)),
            cores_per_task=draw(st.integers(1, 2)),
            exclusive=draw(st.booleans()),
        )
    tasks = draw(st.sampled_from([1, 1, 1, 2, 5]))
    gpus = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return Needs(
        tasks=1 if gpus else tasks,
        cores_per_task=draw(st.sampled_from([1, 1, 2, 3, 4, 8] if not gpus else [1, 4, 8])),
        gpus_per_task=gpus,
        memory=draw(st.sampled_from([0, 0, 1000, 3000, 8000])),
        exclusive=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def problems(draw: st.DrawFn, most_steps: int = 9) -> Problem:
    """Problems of a few steps with everything that a step, a flavour and a limit can have; some have no plan."""
    steps: list[Step] = []
    grouped = draw(st.integers(0, 4)) == 0
    spread = draw(st.sampled_from([0.0, 0.0, 0.3]))
    for i in range(draw(st.integers(1, most_steps))):
        width = draw(st.sampled_from([1, 1, 2, 3, 3, 7, 20]))
        seconds = draw(st.sampled_from([0, 0.0004, 1, 10, 60, 60, 333.25, 1000, 4000]))
        before = draw(st.lists(st.sampled_from(steps), max_size=3, unique_by=lambda s: s.name)) if steps else []
        steps.append(
            Step(
                name=f"s{i}",
                needs=draw(needs()),
                width=width,
                duration=Duration(seconds=seconds, spread=spread * seconds),
                after=[Dependency(step=s.name, each=s.width == width and draw(st.booleans())) for s in before],
                image=draw(st.sampled_from([None, None, "a", "b"])),
                binding=draw(st.sampled_from(["", "", "", "other"])),
                controller=draw(st.integers(0, 9)) == 0,
                flavours=draw(st.sampled_from([[], [], [], ["large"], ["large", "gpu"]])),
            )
        )
    if grouped:
        some = draw(st.sets(st.integers(0, len(steps) - 1), max_size=4))
        steps = [
            s.model_copy(update={"group": "g", "image": None, "binding": "", "flavours": []}) if i in some else s
            for i, s in enumerate(steps)
        ]
    maybe = lambda *values: draw(st.sampled_from([None, None, *values]))  # noqa: E731
    limits = Limits(
        nodes=maybe(3, 4, 8, 20),
        cores=maybe(32, 64, 200),
        gpus=maybe(2, 4),
        memory=maybe(140000, 400000),
        cost_per_hour=maybe(40, 100.5),
        miniclusters=maybe(1, 2, 3) if draw(st.integers(0, 3)) == 0 else None,
    )
    flavours = dict(FLAVOURS)
    if draw(st.booleans()):
        del flavours["free"]
    if draw(st.integers(0, 3)) == 0:
        flavours["large"] = flavours["large"].model_copy(update={"count": draw(st.integers(2, 5))})
    goal = draw(st.sampled_from(["cost", "makespan", "balanced"]))
    return Problem(workflow=Workflow(steps=steps), flavours=flavours, limits=limits, objective=Objective(goal=goal))
