"""What makes a problem impossible, in the user's words, and what would make it possible."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import networkx as nx

from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.model import Dependencies
from streamflow_fluxop.model.capacity import within
from streamflow_fluxop.model.sizes import too_large
from streamflow_fluxop.planning.problem.dependency_hubs import MANY, Part, with_hubs, without_hubs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamflow_fluxop.model import Dependency, Flavour, Limits, Needs, Problem, Step
    from streamflow_fluxop.planning.problem.dependency_hubs import Pairs, Predecessors


def check(problem: Problem) -> tuple[list[int], list[Pairs]]:
    """A topological order of the steps and hubs, and what each of them waits for: the steps, then the hubs.

    Raises:
        UserError: one thing is wrong.
        UserErrors: several are.
    """
    if errors := list(too_large(problem)):
        raise _all(errors)
    predecessors = _predecessors(problem)
    if predecessors is None:
        raise _all(list(_names(problem)))
    many = sum(len(step.after) for step in problem.workflow.steps) >= MANY
    found = with_hubs(predecessors) if many else without_hubs(predecessors)
    errors = [*_places(problem), *_groups(problem)]
    try:
        order = _order(problem, found)
    except UserError as error:
        errors.append(error)
    if errors:
        raise _all(errors)
    return order, found


def _all(errors: list[UserError]) -> UserError | UserErrors:
    return errors[0] if len(errors) == 1 else UserErrors(errors)


def alike(step: Step) -> tuple[object, ...]:
    """What steps have in common that can run in the same places."""
    return (*step.needs.__dict__.values(), *step.flavours)


def _predecessors(problem: Problem) -> list[Predecessors] | None:
    """What each step waits for; None where `_names` will find something wrong. Quick, for millions of dependencies."""
    steps = problem.workflow.steps
    numbers = {step.name: n for n, step in enumerate(steps)}
    if not steps or len(numbers) < len(steps):
        return None
    plain = {name: (n, False) for name, n in numbers.items()}  # one pair for all that wait for a step
    same: dict[Pairs, Part] = {}
    known: dict[int, Part] = {}  # by the id of what the document has
    lists: dict[int, Predecessors] = {}

    def part(after: Sequence[Dependency]) -> Part:
        found = known.get(id(after))
        if found is None:
            pairs = tuple([(numbers[d.step], True) if d.each else plain[d.step] for d in after])
            found = same.get(pairs)
            if found is None:
                each = any(each for _, each in pairs)
                found = same[pairs] = Part(pairs, frozenset(t for t, _ in pairs), not each)
            known[id(after)] = found
        return found

    result: list[Predecessors] = []
    for step in steps:
        if step.image == "" or any(f not in problem.flavours for f in step.flavours):
            return None
        after = step.after
        predecessors = lists.get(id(after))
        if predecessors is None:
            try:
                predecessors = tuple(map(part, after.parts)) if isinstance(after, Dependencies) else (part(after),)
            except KeyError:
                return None
            if len(frozenset().union(*(p.numbers for p in predecessors))) < len(after):
                return None
            lists[id(after)] = predecessors
        if not all(p.plain for p in predecessors) and any(
            each and steps[t].width != step.width for p in predecessors for t, each in p.pairs
        ):
            return None
        result.append(predecessors)
    return result


def _names(problem: Problem) -> Iterator[UserError]:
    steps = problem.workflow.steps
    if not steps:
        yield UserError("the workflow has no steps", where=f"workflow {problem.workflow.name}")
    for name, times in Counter(s.name for s in steps).items():
        if times > 1:
            yield UserError(
                f"{times} steps have the name {name}", where="workflow.steps", fix="give each step its own name"
            )
    widths = {s.name: s.width for s in steps}
    for step in steps:
        for d in step.after:
            if d.step not in widths:
                yield UserError(
                    f"it waits for {d.step}, which is no step of the workflow",
                    where=f"step {step.name}: after",
                    fix=_near(d.step, widths),
                )
            elif d.each and widths[d.step] != step.width:
                yield UserError(
                    f"job by job after {d.step}, but the widths differ: {step.width} and {widths[d.step]}",
                    where=f"step {step.name}: after",
                    fix="give both the same width, or leave `each` out to wait for all jobs",
                )
        if len(step.after) > 1 and len({d.step for d in step.after}) < len(step.after):
            for name, times in Counter(d.step for d in step.after).items():
                if times > 1:
                    yield UserError(
                        f"{name} is named {times} times", where=f"step {step.name}: after", fix="name it once"
                    )
        for flavour in step.flavours:
            if flavour not in problem.flavours:
                yield UserError(
                    f"there is no flavour {flavour}",
                    where=f"step {step.name}: flavours",
                    fix=_near(flavour, problem.flavours),
                )
        if step.image == "":
            yield UserError(
                "the image's name is empty", where=f"step {step.name}: image", fix="leave it out or name one"
            )


def _near(name: str, known: dict[str, int] | dict[str, Flavour]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known)[:20])}"


def _order(problem: Problem, dependencies: list[Pairs]) -> list[int]:
    steps = len(problem.workflow.steps)
    last = list(range(steps))  # of what a step or hub waits for, or itself
    for pairs in dependencies[steps:]:
        last.append(max([last[t] for t, _ in pairs]))
    if all(last[t] < n for n, pairs in enumerate(dependencies[:steps]) for t, _ in pairs):
        return sorted(range(len(last)), key=last.__getitem__)  # the usual case, and quick for 100 000 steps
    graph = nx.DiGraph((t, n) for n, pairs in enumerate(dependencies) for t, _ in pairs)
    graph.add_nodes_from(range(len(dependencies)))
    try:
        return list(nx.topological_sort(graph))
    except nx.NetworkXUnfeasible:
        cycle = [problem.workflow.steps[a].name for a, _ in nx.find_cycle(graph) if a < steps]
        raise UserError(
            f"the steps wait for each other in a circle: {' -> '.join([*cycle, cycle[0]])}",
            where=f"workflow {problem.workflow.name}",
            fix="take one of these dependencies out",
        ) from None


def _places(problem: Problem) -> Iterator[UserError]:
    """A step that fits on no flavour, or only on flavours of which the limits allow too few nodes."""
    seen: set[tuple[object, ...]] = set()
    for step in problem.workflow.steps:
        if step.controller:
            continue
        key = alike(step)
        if key not in seen:
            seen.add(key)
            error = _place(step, problem)
            if error:
                yield error


def _place(step: Step, problem: Problem) -> UserError | None:
    names = step.flavours or list(problem.flavours)
    fitting = {n: nodes for n in names if (nodes := step.needs.nodes_on(problem.flavours[n]))}
    if not fitting:
        tried = "; ".join(f"{n} has {_too_small(step.needs, problem.flavours[n])}" for n in names[:5])
        elsewhere = [
            n for n in problem.flavours if n not in names and step.needs.nodes_on(problem.flavours[n]) is not None
        ]
        fix = (
            f"let it run on {' or '.join(elsewhere)}"
            if elsewhere
            else f"add a flavour with at least {_at_least(step.needs)} a node"
        )
        return UserError(f"it fits on no flavour: {tried}", where=f"step {step.name}: needs", fix=fix)
    allowed = {n: problem.limits.nodes_of(problem.flavours[n]) for n in fitting}
    if any(limit is None or nodes <= limit for n, nodes in fitting.items() for limit in [allowed[n]]):
        return None
    told = "; ".join(f"{nodes} x {n} needed, {allowed[n]} allowed" for n, nodes in fitting.items())
    name = min(fitting, key=lambda n: fitting[n] * problem.flavours[n].price)
    return UserError(
        f"it never fits within the limits: {told}",
        where=f"step {step.name}: needs",
        fix=f"raise the limits to at least {_raised(problem.limits, problem.flavours[name], fitting[name], name)}",
    )


def _too_small(needs: Needs, flavour: Flavour) -> str:
    tasks = needs.tasks if needs.nodes is None else -(-needs.tasks // needs.nodes)
    for few in (1, tasks):
        what = [
            f"{_so_many(have, unit)} where {want} {'is' if want == 1 else 'are'} needed"
            for unit, have, want in (
                ("core", flavour.cores, few * needs.cores_per_task),
                ("GPU", flavour.gpus, few * needs.gpus_per_task),
                ("MiB", flavour.memory, -(-few * needs.memory // needs.tasks)),
            )
            if want > have
        ]
        if what:
            return " and ".join(what) + " a node"
    return "too little a node"


def _so_many(n: int, unit: str) -> str:
    return f"{n} MiB of memory" if unit == "MiB" else f"{n} {unit}{'' if n == 1 else 's'}"


def _at_least(needs: Needs) -> str:
    tasks = 1 if needs.nodes is None else -(-needs.tasks // needs.nodes)
    amounts = [_so_many(tasks * needs.cores_per_task, "core")]
    if needs.gpus_per_task:
        amounts.append(_so_many(tasks * needs.gpus_per_task, "GPU"))
    if needs.memory:
        amounts.append(_so_many(-(-tasks * needs.memory // needs.tasks), "MiB"))
    return ", ".join(amounts)


def _raised(limits: Limits, flavour: Flavour, nodes: int, name: str) -> str:
    wanted = [
        f"{limit.name}={need * nodes:g}"
        for limit, most in within(limits)
        if (need := limit.amount(flavour)) * nodes > most
    ]
    if flavour.count is not None and flavour.count < nodes:
        wanted.append(f"{nodes} nodes of flavour {name}")
    return ", ".join(wanted)


def _groups(problem: Problem) -> Iterator[UserError]:
    """A group is one MiniCluster, so its steps need one image, one binding, and a flavour that all of them fit on."""
    groups: dict[str, list[Step]] = {}
    for step in problem.workflow.steps:
        if step.group is not None and not step.controller:
            groups.setdefault(step.group, []).append(step)
    for group, steps in groups.items():
        where = f"group {group}"
        for other in steps[1:]:
            if other.image != steps[0].image or other.binding != steps[0].binding:
                what = "images" if other.image != steps[0].image else "bindings"
                yield UserError(
                    f"{steps[0].name} and {other.name} have different {what}, but one MiniCluster has one",
                    where=where,
                    fix="put them into different groups",
                )
                break
        common = set(problem.flavours)
        for step in steps:
            common &= {
                n
                for n in step.flavours or problem.flavours
                if (nodes := step.needs.nodes_on(problem.flavours[n])) is not None
                and ((most := problem.limits.nodes_of(problem.flavours[n])) is None or nodes <= most)
            }
        if not common:
            yield UserError(
                f"no flavour holds all of its steps ({', '.join(s.name for s in steps[:10])}) within the limits",
                where=where,
                fix="split the group, or add a flavour that is large enough for all of them",
            )
