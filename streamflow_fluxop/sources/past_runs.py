"""What past runs tell of a StreamFlow file's steps and flavours: our event logs first, StreamFlow's database second."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.cwl import StreamFlowFile
from streamflow_fluxop.cwl.graph import CWLWorkflow
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events.index import Index, PastStep
from streamflow_fluxop.events.writing import runs_folder
from streamflow_fluxop.model import Step
from streamflow_fluxop.sources.history import default_database, read_history, resolved, with_history
from streamflow_fluxop.sources.learned_estimates import Learned, learn, learned_flavours, with_learned
from streamflow_fluxop.sources.source import Source

_FEW = 5


class PastRuns:
    """Past runs that a plan of a fleet may learn from.

    Args:
        file: the StreamFlow file.
        config: of the fleet.
        wanted: what the user named: a folder of event logs, or a database of StreamFlow; None: the usual ones.
        everything: whether all logs are read that are not in the index yet, however long that takes.

    Raises:
        UserError: what the user named is not there.
    """

    def __init__(
        self, file: StreamFlowFile, config: FleetConfig, wanted: Path | None = None, *, everything: bool = False
    ) -> None:
        self._file = os.path.abspath(file.path) if file.path else ""
        self._config = config
        self._wanted = wanted is not None
        self._database = default_database(file.config, Path(file.path or ".")) if wanted is None else None
        self._logs: Path | None = runs_folder() if wanted is None else None
        self._everything = everything
        if wanted is not None and wanted.is_dir():
            self._logs = wanted
        elif wanted is not None:
            self._database = wanted

    def durations(self, source: Source, workflow: CWLWorkflow, cwl: str) -> Source:
        """The source with durations of past jobs.

        Args:
            source: of one workflow.
            workflow: as it was read.
            cwl: its CWL file.

        Raises:
            UserError: the database that the user named can't be read.
        """
        source = self._from_logs(source, workflow, cwl)
        return self._from_database(source, cwl)

    def _from_logs(self, source: Source, workflow: CWLWorkflow, cwl: str) -> Source:
        if self._logs is None or not self._logs.is_dir():
            return source
        learned, left = self.learned(source, workflow, cwl)
        steps, used = with_learned(source.problem.workflow.steps, learned, wins=self._wanted)
        notes = [*_told(used, cwl, self._logs)]
        if left and used:
            notes.append(f"{left} older runs in {self._logs} were not read yet; `fluxop estimates` reads all")
        return source.with_steps(steps, *notes)

    def learned(self, source: Source, workflow: CWLWorkflow, cwl: str) -> tuple[dict[str, Learned], int]:
        """What past jobs tell of each step, and how many logs are yet to be read."""
        if self._logs is None or not self._logs.is_dir():
            return {}, 0
        with closing(Index(self._logs)) as index:
            left = index.update(None) if self._everything else index.update()
            return self._learned(index, source.problem.workflow.steps, workflow, resolved(cwl)), left

    def _learned(self, index: Index, steps: list[Step], workflow: CWLWorkflow, cwl: str) -> dict[str, Learned]:
        tools = {s.tool for s in steps if s.tool and not s.controller}
        of_step: dict[str, list[PastStep]] = {}
        of_tool: dict[str, list[PastStep]] = {}
        for row in index.steps(cwl, self._file, sorted(tools)):
            if row.workflow in ("", cwl):
                of_step.setdefault(row.step, []).append(row)
            else:
                of_tool.setdefault(row.tool, []).append(row)
        found = {}
        for step in steps:
            past, ours = of_step.get(step.name), True
            if past is None:
                past, ours = of_tool.get(step.tool or ""), False
            if step.controller or not past:
                continue
            allowed = step.flavours or list(self._config.flavours)
            flavours = [self._config.flavours[f] for f in allowed if f in self._config.flavours]
            cwl_step = workflow.steps.get(step.name)
            known = learn(step, past, flavours, cwl_step.input_sizes if cwl_step else tuple, same_step=ours)
            if known is not None:
                found[step.name] = known
        return found

    def _from_database(self, source: Source, cwl: str) -> Source:
        database, steps = self._database, source.problem.workflow.steps
        if database is None or (not self._wanted and not database.is_file()):
            return source
        try:
            past = read_history(database, cwl)
        except UserError as error:
            if self._wanted:
                raise
            return source.with_steps(steps, f"past runs are not looked at: {database} {error.what}")
        steps, jobs = with_history(steps, past, wins=self._wanted)
        if jobs:
            return source.with_steps(
                steps, f"past runs: {_jobs(jobs)} of {cwl} in {database}, with the time that they waited"
            )
        return source.with_steps(steps, f"there is no past run of {cwl} in {database}") if self._wanted else source

    def flavours(self, source: Source) -> Source:
        """The source with bring-ups and tear-downs as past MiniClusters had them."""
        if self._logs is None or not self._logs.is_dir() or self._config.external:
            return source
        images = {s.image for s in source.problem.workflow.steps if not s.controller}
        with closing(Index(self._logs)) as index:
            index.update()
            flavours, notes = learned_flavours(
                index, self._config.cluster, source.problem.flavours, sorted(images, key=str)
            )
        return source.with_flavours(flavours, *notes)


def _jobs(count: int) -> str:
    return f"{count} job{'s' * (count != 1)}"


def _told(used: dict[str, Learned], cwl: str, folder: Path) -> list[str]:
    """What durations were taken from."""
    notes = []
    for source, whose in (("history", f"of {cwl}"), ("tool history", "of the same tools in other workflows")):
        those = {name: known for name, known in used.items() if known.duration.source == source}
        if those:
            jobs = sum(known.jobs for known in those.values())
            steps = f"{len(those)} step{'s' * (len(those) > 1)}"
            tell = f"{_jobs(jobs)} {whose} tell{'s' * (jobs == 1)} the times of {steps}"
            notes.append(f"past runs: {tell}, from start to end, in the logs in {folder}")
    if by_size := [name for name, known in used.items() if known.by_size]:
        few = ", ".join(by_size[:_FEW]) + (f" and {len(by_size) - _FEW} more" if len(by_size) > _FEW else "")
        notes.append(f"the size of their inputs tells the times of the jobs of {few}")
    return notes
