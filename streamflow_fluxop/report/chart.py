"""What a Gantt chart shows, whatever draws it: bars, the work inside them, and the use of a limit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamflow_fluxop.model import NODE_LIMITS, Flavour, Limits, Plan, Resize
from streamflow_fluxop.report.headline import headline
from streamflow_fluxop.report.names import StepNames

_WORDS = {"gpus": "GPUs", "memory": "MiB", "cost_per_hour": "cost an hour", "miniclusters": "MiniClusters"}


@dataclass(frozen=True)
class Work:
    """Jobs of one step that run in one MiniCluster without a break between them.

    Attributes:
        step: its name.
        label: the name as short as it is clear, with the number of jobs.
        kind: steps of one kind have one colour.
        start: seconds; likewise `end`.
        jobs: how many.
    """

    step: str
    label: str
    kind: int
    start: float
    end: float
    jobs: int


@dataclass(frozen=True)
class Bar:
    """A MiniCluster in the chart, from asked for to gone.

    Attributes:
        name: what stands beside it.
        flavour: of its nodes.
        size: nodes that it starts with.
        asked: seconds; likewise `ready`, `released` and `gone`.
        resizes: in order of time.
        cost: what it costs in all.
        work: by start.
        running: how many jobs of each kind run: from each time on, by kind.
        planned: it is shown beside others that are real.
    """

    name: str
    flavour: str
    size: int
    asked: float
    ready: float
    released: float
    gone: float
    resizes: tuple[Resize, ...]
    cost: float
    work: tuple[Work, ...]
    running: tuple[tuple[float, dict[int, int]], ...]
    planned: bool = False

    @property
    def nodes(self) -> str:
        """How many of what, such as ``2 x cpu`` or ``1-4 x cpu``."""
        sizes = [self.size, *(r.size for r in self.resizes)]
        low, high = min(sizes), max(sizes)
        return f"{high} x {self.flavour}" if low == high else f"{low}-{high} x {self.flavour}"

    def lanes(self, most: int) -> list[list[Work]] | None:
        """The work in as few rows as there is no overlap in any; None where it takes more than `most`."""
        rows: list[list[Work]] = []
        for work in self.work:
            row = next((r for r in rows if r[-1].end <= work.start + 1e-6), None)
            if row is None:
                if len(rows) == most:
                    return None
                rows.append([work])
            else:
                row.append(work)
        return rows

    def sizes(self) -> list[tuple[float, int]]:
        """When how many nodes are up or on their way: from each time on, from asked for to gone."""
        changes: dict[float, int] = defaultdict(int)
        changes[self.asked] += self.size
        size = self.size
        for r in self.resizes:
            changes[r.at if r.size > size else r.done] += r.size - size
            size = r.size
        changes[self.gone] -= size
        held, result = 0, []
        for at, change in sorted(changes.items()):
            held += change
            result.append((at, held))
        return result


@dataclass(frozen=True)
class LimitUse:
    """How much of a limited resource the MiniClusters hold, over time.

    Attributes:
        resource: in words, such as ``nodes``.
        limit: None where there is none.
        steps: from each time on so much.
    """

    resource: str
    limit: float | None
    steps: tuple[tuple[float, float], ...]

    @property
    def peak(self) -> float:
        """The most that is ever held."""
        return max((held for _, held in self.steps), default=0.0)

    def most_between(self, start: float, end: float) -> float:
        """The most that is held at any moment of a stretch of time that is not empty."""
        most = 0.0
        ends = [*(at for at, _ in self.steps), float("inf")][1:]
        for (at, held), following in zip(self.steps, ends, strict=True):
            if at >= end:
                break
            if following > start:
                most = max(most, held)
        return most


@dataclass(frozen=True)
class Chart:
    """MiniClusters over time, as pictures show them.

    Attributes:
        caption: what it comes to, in a line.
        bars: in order of time.
        use: of the limit that is used most, or of nodes where there is no limit.
        end: seconds until everything is gone.
        names: of the steps.
        deadline: seconds; None: there is none.
    """

    caption: str
    bars: tuple[Bar, ...]
    use: LimitUse
    end: float
    names: StepNames
    deadline: float | None = None


def chart(plan: Plan, *, names: StepNames | None = None, start: float = 0.0) -> Chart:
    """Lay a plan out.

    Args:
        plan: the plan.
        names: of its steps and those of charts that are shown beside it.
        start: when the plan's times begin on the chart's time axis, in seconds.
    """
    names = names or StepNames(s.name for s in plan.problem.workflow.steps)
    pieces: dict[str, list[Piece]] = defaultdict(list)
    for a in plan.assignments:
        if a.minicluster is not None:
            pieces[a.minicluster].append(Piece(a.step, start + a.start, start + a.end, a.count))
    bars = tuple(
        bar(
            names,
            pieces[m.name],
            name=m.name,
            flavour=m.flavour,
            size=m.size,
            asked=start + m.asked,
            ready=start + m.ready,
            released=start + m.released,
            gone=start + m.gone,
            resizes=tuple(r.model_copy(update={"at": start + r.at, "done": start + r.done}) for r in m.resizes),
            cost=m.cost,
        )
        for m in plan.miniclusters
    )
    end = start + max([plan.makespan, *(m.gone for m in plan.miniclusters)])
    deadline = plan.problem.objective.deadline
    return Chart(
        caption=headline(plan),
        bars=bars,
        use=use_of_limits(bars, plan.problem.flavours, plan.problem.limits),
        end=end or 1.0,
        names=names,
        deadline=None if deadline is None else start + deadline,
    )


@dataclass(frozen=True)
class Piece:
    """Jobs of a step that run side by side in a MiniCluster."""

    step: str
    start: float
    end: float
    jobs: int


def bar(names: StepNames, pieces: list[Piece], *, gap: float = 1e-6, **life: Any) -> Bar:
    """A MiniCluster with what runs in it.

    Args:
        names: of the steps.
        pieces: what runs in it, in any order.
        gap: seconds; jobs of a step that are not further apart are shown as one piece of work.
        life: the rest of `Bar`.
    """
    return Bar(work=tuple(_work(pieces, names, gap)), running=tuple(_running(pieces, names)), **life)


def _work(pieces: list[Piece], names: StepNames, gap: float) -> Iterator[Work]:
    by_step: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_step[piece.step].append(piece)
    found: list[tuple[str, float, float, int]] = []
    for step, own in by_step.items():
        own.sort(key=lambda p: p.start)
        start, end, jobs = own[0].start, own[0].end, 0
        for piece in own:
            if piece.start > end + gap:
                found.append((step, start, end, jobs))
                start, end, jobs = piece.start, piece.end, 0
            end, jobs = max(end, piece.end), jobs + piece.jobs
        found.append((step, start, end, jobs))
    for step, start, end, jobs in sorted(found, key=lambda f: (f[1], f[2], f[0])):
        label = f"{names.short[step]} x{jobs}" if jobs > 1 else names.short[step]
        yield Work(step, label, names.kind[step], start, end, jobs)


def _running(pieces: list[Piece], names: StepNames) -> Iterator[tuple[float, dict[int, int]]]:
    changes: dict[float, Counter[int]] = defaultdict(Counter)
    for piece in pieces:
        changes[piece.start][names.kind[piece.step]] += piece.jobs
        changes[piece.end][names.kind[piece.step]] -= piece.jobs
    now: Counter[int] = Counter()
    for at in sorted(changes):
        now.update(changes[at])
        yield at, {kind: jobs for kind, jobs in now.items() if jobs}


def use_of_limits(
    bars: tuple[Bar, ...], flavours: Mapping[str, Flavour], limits: Limits, resource: str | None = None
) -> LimitUse:
    """The use of the limit that is used most, or of nodes where nothing is limited; or that of a given `resource`."""
    uses = [_use_of(r, bars, flavours, limits) for r in Limits.model_fields]
    if resource is not None:
        return next(u for u in uses if u.resource == resource)
    limited = [u for u in uses if u.limit]
    return max(limited, key=lambda u: u.peak / (u.limit or 1)) if limited else uses[0]


def _use_of(resource: str, bars: tuple[Bar, ...], flavours: Mapping[str, Flavour], limits: Limits) -> LimitUse:
    changes: dict[float, float] = defaultdict(float)
    for one in bars:
        flavour, before = flavours[one.flavour], 0
        for at, nodes in one.sizes():
            if resource == "miniclusters":
                changes[at] += bool(nodes) - bool(before)
            else:
                changes[at] += (nodes - before) * _amount(resource, flavour)
            before = nodes
    held, steps = 0.0, []
    for at in sorted(changes):
        held += changes[at]
        steps.append((at, round(held, 9)))
    return LimitUse(_WORDS.get(resource, resource), getattr(limits, resource), tuple(steps))


def _amount(resource: str, flavour: Flavour) -> float:
    return next(float(limit.amount(flavour)) for limit in NODE_LIMITS if limit.name == resource)
