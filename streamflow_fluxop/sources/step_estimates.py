"""What past runs know of the steps of a StreamFlow file, as the block `steps` of a fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from streamflow_fluxop.cwl import read_streamflow_file
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.model import Step
from streamflow_fluxop.sources.deployments import Fleets, require_fleets
from streamflow_fluxop.sources.learned_estimates import Learned
from streamflow_fluxop.sources.past_runs import PastRuns
from streamflow_fluxop.sources.streamflow import source_of


def estimates(path: str, *, deployment: str | None = None, history: Path | None = None) -> dict[str, list[str]]:
    """For each fleet of a StreamFlow file the lines of its `steps`; none where no past run tells anything.

    Args:
        path: of the StreamFlow file.
        deployment: name of the only fleet that counts; None: all.
        history: a folder of event logs; None: this user's.

    Raises:
        UserError: the file, its CWL or its inputs can't be read, or there is no such fleet or folder.
    """
    if history is not None and not history.is_dir():
        raise UserError("is no folder of event logs", where=str(history))
    file = read_streamflow_file(path)
    fleets = Fleets(file)
    require_fleets(file)
    if deployment is not None and deployment not in file.fleets:
        raise UserError(
            f"there is no fleet {deployment!r}",
            where=file.where("deployments"),
            fix=f"The deployments of type minicluster are: {', '.join(file.fleets)}.",
        )
    if errors := list(fleets.check_deployments()):
        raise UserErrors(errors)
    bound = [fleets.read(name) for name in file.workflows]
    found: dict[str, list[str]] = {}
    for name, config in fleets.configs.items():
        if deployment not in (None, name):
            continue
        past = PastRuns(file, config, history, everything=True)
        lines: dict[str, str] = {}
        for b in bound:
            if b.steps_of(name):
                source = source_of(file, name, config, [b], no_history=True)
                learned, _ = past.learned(source, b.cwl, file.workflow(b.cwl.name).file)
                lines |= dict(_lines(source.problem.workflow.steps, learned))
        found[name] = list(lines.values())
    return found


def _lines(steps: list[Step], learned: Mapping[str, Learned]) -> Iterator[tuple[str, str]]:
    for step in steps:
        known = learned.get(step.name)
        if known is None:
            continue
        fields = [f"duration: {known.duration.seconds:.10g}"]
        if known.duration.spread:
            fields.append(f"spread: {known.duration.spread:.10g}")
        if step.width_source in ("assumed", "hint"):
            fields.append(f"width: {known.width}")
        runs = f"{known.runs} run{'s' * (known.runs > 1)}"
        seen = f"{known.jobs} job{'s' * (known.jobs > 1)} of {runs}"
        if known.duration.source == "tool history":
            seen += ", of the same tool in other workflows"
        if known.peak is not None:
            seen += f"; of {known.asked or 0} MiB asked for, {known.peak} used at most"
        yield step.name, f"  {_key(step.name)}: {{{', '.join(fields)}}}  # {seen}"


def _key(name: str) -> str:
    plain = all(c.isalnum() or c in "/_-." for c in name)
    return name if plain else "'" + name.replace("'", "''") + "'"
