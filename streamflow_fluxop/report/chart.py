"""What a Gantt chart of a plan shows, whatever draws it: bars, the work inside them, and the use of a limit."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from streamflow_fluxop.model import Flavour, Limits, Plan, PlannedMiniCluster

_RESOURCES = ("nodes", "cores", "gpus", "memory", "cost_per_hour", "miniclusters")
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
    """A MiniCluster in the chart.

    Attributes:
        minicluster: the plan's.
        nodes: how many of what, such as ``2 x cpu`` or ``1-4 x cpu``.
        work: by start.
        running: how many jobs of each kind run: from each time on, by kind.
    """

    minicluster: PlannedMiniCluster
    nodes: str
    work: tuple[Work, ...]
    running: tuple[tuple[float, dict[int, int]], ...]

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
        m = self.minicluster
        changes: dict[float, int] = defaultdict(int)
        changes[m.asked] += m.size
        size = m.size
        for r in m.resizes:
            changes[r.at if r.size > size else r.done] += r.size - size
            size = r.size
        changes[m.gone] -= size
        held, result = 0, []
        for at, change in sorted(changes.items()):
            held += change
            result.append((at, held))
        return result


@dataclass(frozen=True)
class Use:
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
        for (at, held), following in zip(self.steps, [*(t for t, _ in self.steps[1:]), float("inf")], strict=True):
            if at >= end:
                break
            if following > start:
                most = max(most, held)
        return most


@dataclass(frozen=True)
class Chart:
    """A plan as pictures show it.

    Attributes:
        plan: the plan.
        bars: in order of time.
        use: of the limit that is used most, or of nodes where there is no limit.
        end: seconds until everything is gone.
        kinds: names of the kinds of steps, by number.
    """

    plan: Plan
    bars: tuple[Bar, ...]
    use: Use
    end: float
    kinds: tuple[str, ...]


def chart(plan: Plan) -> Chart:
    """Lay a plan out."""
    names = short_names(s.name for s in plan.problem.workflow.steps)
    kinds: dict[str, int] = {}
    kind_of = {s.name: kinds.setdefault(_kind(names[s.name]), len(kinds)) for s in plan.problem.workflow.steps}
    pieces: dict[str, list[_Piece]] = defaultdict(list)
    for a in plan.assignments:
        if a.minicluster is not None:
            pieces[a.minicluster].append(_Piece(a.step, a.start, a.end, a.count))
    bars = tuple(
        Bar(
            minicluster=m,
            nodes=_nodes(m),
            work=tuple(_work(pieces[m.name], names, kind_of)),
            running=tuple(_running(pieces[m.name], kind_of)),
        )
        for m in plan.miniclusters
    )
    end = max([plan.makespan, *(m.gone for m in plan.miniclusters)])
    return Chart(plan=plan, bars=bars, use=_use(plan, bars), end=end or 1.0, kinds=tuple(kinds))


def short_names(steps: Iterable[str]) -> dict[str, str]:
    """Each step's last part where that tells it from all others, else its whole name; without the first slash."""
    names = list(steps)
    last = {name: _PARTS.split(name.rstrip("/"))[-1] or name for name in names}
    count = Counter(last.values())
    return {name: last[name] if count[last[name]] == 1 else name.lstrip("/") or name for name in names}


_PARTS = re.compile(r"[/:]|\.(?=[A-Za-z])")
"""What parts names: CWL's and Snakemake's paths, Nextflow's processes."""


@dataclass(frozen=True)
class _Piece:
    step: str
    start: float
    end: float
    jobs: int


def _kind(name: str) -> str:
    """Traces number the tasks of a program: mProject_ID0000012."""
    return re.sub(r"[_.-]?(ID)?[0-9]+$", "", name) or name


def _nodes(m: PlannedMiniCluster) -> str:
    sizes = [m.size, *(r.size for r in m.resizes)]
    low, high = min(sizes), max(sizes)
    return f"{high} x {m.flavour}" if low == high else f"{low}-{high} x {m.flavour}"


def _work(pieces: list[_Piece], names: dict[str, str], kind_of: dict[str, int]) -> Iterator[Work]:
    by_step: dict[str, list[_Piece]] = defaultdict(list)
    for piece in pieces:
        by_step[piece.step].append(piece)
    found: list[tuple[str, float, float, int]] = []
    for step, own in by_step.items():
        own.sort(key=lambda p: p.start)
        start, end, jobs = own[0].start, own[0].end, 0
        for piece in own:
            if piece.start > end + 1e-6:
                found.append((step, start, end, jobs))
                start, end, jobs = piece.start, piece.end, 0
            end, jobs = max(end, piece.end), jobs + piece.jobs
        found.append((step, start, end, jobs))
    for step, start, end, jobs in sorted(found, key=lambda f: (f[1], f[2], f[0])):
        label = f"{names[step]} x{jobs}" if jobs > 1 else names[step]
        yield Work(step, label, kind_of[step], start, end, jobs)


def _running(pieces: list[_Piece], kind_of: dict[str, int]) -> Iterator[tuple[float, dict[int, int]]]:
    changes: dict[float, Counter[int]] = defaultdict(Counter)
    for piece in pieces:
        changes[piece.start][kind_of[piece.step]] += piece.jobs
        changes[piece.end][kind_of[piece.step]] -= piece.jobs
    now: Counter[int] = Counter()
    for at in sorted(changes):
        now.update(changes[at])
        yield at, {kind: jobs for kind, jobs in now.items() if jobs}


def _use(plan: Plan, bars: tuple[Bar, ...]) -> Use:
    limits = plan.problem.limits
    uses = [_use_of(r, bars, plan.problem.flavours, limits) for r in _RESOURCES]
    limited = [u for u in uses if u.limit]
    return max(limited, key=lambda u: u.peak / (u.limit or 1)) if limited else uses[0]


def _use_of(resource: str, bars: tuple[Bar, ...], flavours: dict[str, Flavour], limits: Limits) -> Use:
    changes: dict[float, float] = defaultdict(float)
    for bar in bars:
        flavour, before = flavours[bar.minicluster.flavour], 0
        for at, nodes in bar.sizes():
            if resource == "miniclusters":
                changes[at] += bool(nodes) - bool(before)
            else:
                changes[at] += (nodes - before) * _amount(resource, flavour)
            before = nodes
    held, steps = 0.0, []
    for at in sorted(changes):
        held += changes[at]
        steps.append((at, round(held, 9)))
    return Use(_WORDS.get(resource, resource), getattr(limits, resource), tuple(steps))


def _amount(resource: str, flavour: Flavour) -> float:
    if resource == "nodes":
        return 1
    return float(flavour.price if resource == "cost_per_hour" else getattr(flavour, resource))
