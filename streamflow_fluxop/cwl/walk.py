"""The way through a CWL workflow, from its inputs to its outputs: every step once, whatever its number of jobs.

All executions of a process go together: a port holds a value for each of them (`known_values.Port`), a scatter makes
more of them, a condition that is surely false makes fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.expressions import Expressions, is_expression
from streamflow_fluxop.cwl.failing import Trial, Written, failures, field_place, first_script, of_tool, trials
from streamflow_fluxop.cwl.graph import CWLStep
from streamflow_fluxop.cwl.hint import merge
from streamflow_fluxop.cwl.identity import sizes_of, tool_identity
from streamflow_fluxop.cwl.known_values import UNKNOWN, Port, constant, from_document
from streamflow_fluxop.cwl.link_types import StepIn, check_links
from streamflow_fluxop.cwl.links import Loop, in_order, linked, local, loop_of, scattered, with_default
from streamflow_fluxop.cwl.parsed_documents import Documents, Process, step_yaml
from streamflow_fluxop.cwl.refused_by_run import check_tool
from streamflow_fluxop.cwl.requirements import Located, Requirements
from streamflow_fluxop.cwl.resource_needs import ResourceRequest, asked
from streamflow_fluxop.cwl.scatter import Known, least_sure, scatter
from streamflow_fluxop.cwl.source_location import SourceLocation, entry_place, last
from streamflow_fluxop.cwl.types import check_types, completed, defined_in, said, shortly, suits
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Dependency

_DEPTH_AT_MOST = 50
"""Deeper than anyone nests: a workflow that runs itself."""


@dataclass(frozen=True)
class Inputs:
    """The inputs file.

    Attributes:
        values: of the workflow's inputs.
        requirements: its `cwl:requirements`, by class.
    """

    values: Mapping[str, Any]
    requirements: Mapping[str, Located]


@dataclass(frozen=True)
class _Scope:
    """The executions of one process.

    Attributes:
        count: how many there are.
        source: how that is known.
        scatters: the scattered steps that they come from, the outermost first.
        loops: the looping steps around them.
        may_be_skipped: some of them may not take place.
        written: where in the documents the process stands: the index of each step on the way to it.
        around: the workflows around it, as cwl-utils has them.
    """

    count: int = 1
    source: Known = "document"
    scatters: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    may_be_skipped: bool = False
    written: tuple[int, ...] = ()
    around: tuple[Any, ...] = ()


_Restore = Callable[[Port], Port]
"""Makes an output of the step's process an output of the step."""


class Walk:
    """One way through a workflow, from its inputs to its outputs."""

    def __init__(
        self,
        documents: Documents,
        evaluator: Expressions,
        inputs: Inputs,
        assumed_duration: float,
        assumed_width: int,
    ) -> None:
        self.documents = documents
        self.evaluator = evaluator
        self.inputs = inputs
        self.assumed_duration = assumed_duration
        self.assumed_width = assumed_width
        self.errors: list[UserError] = []
        self._found: dict[str, CWLStep] = {}
        self._order: dict[str, tuple[int, ...]] = {}
        self._trials: list[Trial] = []

    def root(self, process: Process) -> dict[str, CWLStep]:
        """All steps of a workflow, or the one of a tool that is run alone."""
        requirements = Requirements(process.version).entered(
            process.cwl, process.yaml, "", process.namespaces, self.errors, self.inputs.requirements
        )
        defined = defined_in(requirements)
        ports = {last(i.id): constant(completed(self._given(i), i.type_, defined), 1) for i in process.cwl.inputs}
        self._process(process, "/", ports, _Scope(), requirements)
        return {name: self._found[name] for name in sorted(self._found, key=self._order.__getitem__)}

    @property
    def script(self) -> str | None:
        """Where JavaScript stands that every run has to evaluate, if there is any."""
        return first_script(self._trials)

    def failures(self) -> list[UserError]:
        """The expressions that fail, whatever the run will tell: to be asked for where nothing else is wrong."""
        return list(failures(self._trials, self.evaluator))

    def _try(
        self,
        written: Iterable[Written],
        ports: Mapping[str, Port],
        scope: _Scope,
        requirements: Requirements,
        itself: Port | None = None,
    ) -> None:
        """Note expressions that the run surely evaluates."""
        if scope.count and scope.source in ("document", "inputs") and not scope.may_be_skipped:
            inputs = (_Execution(ports, i) for i in range(scope.count))
            of_each = None if itself is None else (lambda: itself.values)
            self._trials += trials(written, inputs, requirements.library, of_each)

    def _given(self, declared: Any) -> Any:
        """The value of an input of the workflow; one that has to be given and isn't is unknown."""
        nullable = isinstance(declared.type_, list) and "null" in declared.type_
        optional = nullable or declared.default is not None
        return self.inputs.values.get(last(declared.id), None if optional else UNKNOWN)

    # processes

    def _process(
        self, process: Process, name: str, given: Mapping[str, Port], scope: _Scope, requirements: Requirements
    ) -> dict[str, Port]:
        """Walk through one process; return its outputs."""
        if any(process.cwl is workflow for workflow in scope.around):  # CWL, Workflow: it must not invoke itself
            raise UnreadableCWL(
                f"step {name}: the workflow {last(process.cwl.id)} runs itself",
                where=process.file,
                fix="Let the step `run` another file.",
            )
        if len(scope.written) > _DEPTH_AT_MOST:
            raise UnreadableCWL(f"step {name}: more than {_DEPTH_AT_MOST} workflows in each other", where=process.file)
        words = f"step {name}" if name != "/" else ""
        self.errors.extend(check_types(process, requirements, words))
        ports = {last(i.id): self._process_input(process, i, given, scope, words) for i in process.cwl.inputs}
        if process.kind == "Workflow":
            return self._workflow(process, name, ports, scope, requirements)
        return self._tool(process, name, ports, scope, requirements)

    def _process_input(
        self, process: Process, declared: Any, given: Mapping[str, Port], scope: _Scope, words: str
    ) -> Port:
        """What comes to an input; its default, where it is used, has to be of its type."""
        port = given.get(last(declared.id), constant(None, scope.count))
        if declared.default is None:
            return port
        default = from_document(declared.default, str(declared.loadingOptions.fileuri))
        if not suits(default, declared.type_) and any(value is None for value in port.values):
            place = entry_place(process.file, process.yaml, "inputs", last(declared.id), words)
            what = f"{shortly(declared.default)} is not of type {said(declared.type_)}"
            self.errors.append(UserError(what, where=place.at("default")))
        return with_default(port, default)

    def _tool(
        self, process: Process, name: str, ports: Mapping[str, Port], scope: _Scope, requirements: Requirements
    ) -> dict[str, Port]:
        producers = frozenset().union(*(p.producers for p in ports.values()))
        after = [self._dependency(p, scope) for p in sorted(producers)]
        wanted = self._asked(requirements, ports, scope)
        words = f"step {name}" if name != "/" else ""
        self.errors.extend(check_tool(process, requirements, words))
        self._try(of_tool(process, requirements, words), ports, scope, requirements)
        self._order[name] = scope.written
        self._found[name] = CWLStep(
            name=name,
            kind=process.kind,
            file=process.file,
            asked=wanted,
            jobs=scope.count,
            jobs_source=scope.source,
            scatters=scope.scatters,
            may_be_skipped=scope.may_be_skipped,
            loops=scope.loops,
            after=tuple(after),
            duration=wanted.duration(self.assumed_duration),
            stderr_declared=_declares_stderr(process.cwl),
            success_codes=_success_codes(process.cwl),
            tool=tool_identity(process),
            program=_program(process.cwl),
            input_sizes=lambda: sizes_of(ports, scope.count),
        )
        return self._tool_outputs(process, ports, scope, requirements, frozenset({name}))

    def _tool_outputs(
        self,
        process: Process,
        ports: Mapping[str, Port],
        scope: _Scope,
        requirements: Requirements,
        producers: frozenset[str],
    ) -> dict[str, Port]:
        """What an ExpressionTool returns; of all other tools only the run tells."""
        names = [last(o.id) for o in process.cwl.outputs]
        if process.kind != "ExpressionTool":
            return {n: constant(UNKNOWN, scope.count, producers) for n in names}
        results = Port(lambda: self._evaluate(process.cwl.expression, ports, scope.count, requirements))
        return {n: _member(results, n, producers) for n in names}

    def _dependency(self, producer: str, scope: _Scope) -> Dependency:
        """Job waits for job where both lie in one scatter around them, none scatters itself, and all jobs are there."""
        other = self._found[producer]
        each = bool(scope.scatters) and other.scatters == scope.scatters and other.jobs == scope.count
        return Dependency(step=producer, each=each)

    def _asked(self, requirements: Requirements, ports: Mapping[str, Port], scope: _Scope) -> ResourceRequest:
        try:
            return asked(requirements, lambda text: self._evaluate(text, ports, scope.count, requirements))
        except UserError as error:
            self.errors.append(error)
            return ResourceRequest()

    def _workflow(
        self, process: Process, name: str, ports: Mapping[str, Port], scope: _Scope, requirements: Requirements
    ) -> dict[str, Port]:
        prefix = process.prefix
        known = {local(prefix, i.id): ports[last(i.id)] for i in process.cwl.inputs}
        steps = {local(prefix, s.id): s for s in process.cwl.steps}
        written = {key: index for index, key in enumerate(steps)}
        entered = {}
        for key in in_order(process, steps):
            at = replace(scope, written=(*scope.written, written[key]), around=(*scope.around, process.cwl))
            entered[key] = step = self._enter(process, steps[key], str(PurePosixPath(name, key)), requirements)
            known |= self._step(process, key, step, known, at, requirements)
        words = f"step {name}" if name != "/" else ""
        self.errors.extend(check_links(process, requirements, entered, words))
        return {
            last(o.id): linked(
                o,
                o.outputSource,
                known,
                prefix,
                scope.count,
                entry_place(process.file, process.yaml, "outputs", last(o.id), words),
            )
            for o in process.cwl.outputs
        }

    # steps

    def _step(
        self,
        workflow: Process,
        key: str,
        step: StepIn,
        known: Mapping[str, Port],
        scope: _Scope,
        outer: Requirements,
    ) -> dict[str, Port]:
        """Walk through one step; return its outputs by `step/output`."""
        cwl = step.cwl
        ports = self._step_inputs(step, known, workflow.prefix, scope)
        inner, ports, restores = scope, ports, []
        names = scattered(cwl)
        if names:
            inner, ports, restore = self._scatter(step, names, ports, inner, outer)
            restores.append(restore)
        ports = self._values_from(step, ports, inner)
        loop = loop_of(cwl, step.requirements)
        if loop is not None:
            inner, ports, restore = self._loop(step, loop, ports, inner)
            restores.append(restore)
        elif getattr(cwl, "when", None) is not None:
            inner, ports, restore = self._when(step, ports, inner)
            restores.append(restore)
        if restores:
            gate = frozenset().union(*(p.producers for p in ports.values()))
            ports = {n: p.waiting_for(gate) for n, p in ports.items()}
        outputs = self._process(step.process, step.name, ports, inner, step.inner)
        for restore in reversed(restores):
            outputs = {n: restore(p) for n, p in outputs.items()}
        listed = {last(o if isinstance(o, str) else o.id) for o in cwl.out}
        return {f"{key}/{n}": p for n, p in outputs.items() if n in listed}

    def _enter(self, workflow: Process, cwl: Any, name: str, outer: Requirements) -> StepIn:
        yaml, words = step_yaml(workflow, cwl.id), f"step {name}"
        overrides = self.inputs.requirements if name.count("/") == 1 else {}
        requirements = outer.entered(cwl, yaml, words, workflow.namespaces, self.errors, overrides)
        process = self.documents.run_of(workflow, cwl, yaml, name)
        inner = requirements.inside(process.version).entered(
            process.cwl, process.yaml, words, process.namespaces, self.errors
        )
        return StepIn(cwl, name, SourceLocation(workflow.file, yaml, words), process, requirements, inner)

    def _step_inputs(self, step: StepIn, known: Mapping[str, Port], prefix: str, scope: _Scope) -> dict[str, Port]:
        ports = {}
        for entry in step.cwl.in_:
            place = entry_place(step.place.file, step.place.node, "in", last(entry.id), step.place.words)
            port = linked(entry, entry.source, known, prefix, scope.count, place)
            if entry.default is not None:
                default = from_document(entry.default, str(entry.loadingOptions.fileuri))
                port = with_default(port, default)
            ports[last(entry.id)] = port
        # a default waits for the links beside it (StreamFlow's DefaultRetagTransformer)
        producers = frozenset().union(*(p.producers for p in ports.values()))
        unlinked = {last(e.id) for e in step.cwl.in_ if e.source is None}
        absent = {last(i.id) for i in step.process.cwl.inputs} - ports.keys()
        ports |= {n: ports[n].waiting_for(producers) for n in unlinked}
        return ports | {n: constant(None, scope.count, producers) for n in absent}

    def _values_from(self, step: StepIn, ports: dict[str, Port], scope: _Scope) -> dict[str, Port]:
        """Apply `valueFrom`, which sees the inputs as they are before any `valueFrom` (CWL 1.2, WorkflowStepInput)."""
        everything = frozenset().union(*(p.producers for p in ports.values()))
        changed = {}
        for entry in step.cwl.in_:
            if entry.valueFrom is not None:
                name = last(entry.id)
                changed[name] = self._value_from(entry, ports, everything, scope, step.requirements)
                written = Written(step.entry(name).at("valueFrom"), entry.valueFrom)
                self._try([written], ports, scope, step.requirements, ports[name])
        return ports | changed

    def _value_from(
        self, entry: Any, ports: Mapping[str, Port], producers: frozenset[str], scope: _Scope, req: Requirements
    ) -> Port:
        itself = ports[last(entry.id)]
        return Port(lambda: self._evaluate(entry.valueFrom, ports, scope.count, req, itself), producers)

    def _scatter(
        self, step: StepIn, names: list[str], ports: dict[str, Port], scope: _Scope, outer: Requirements
    ) -> tuple[_Scope, dict[str, Port], _Restore]:
        own = merge(level for level, _ in step.inner.flux[len(outer.flux) :])
        if any(name not in ports for name in names):
            raise UnreadableCWL(
                f"scatters over {next(n for n in names if n not in ports)!r}, which is no input of it",
                where=str(replace(step.place, key="scatter")),
                fix=f"It has: {', '.join(ports) or 'none'}.",
            )
        found = scatter(names, step.cwl.scatterMethod, ports, hint=own.width, assumed=self.assumed_width)
        gate = frozenset().union(*(p.producers for p in ports.values()))
        inner = replace(
            scope,
            count=found.count,
            source=least_sure(scope.source, found.source),
            scatters=(*scope.scatters, step.name),
        )
        return inner, found.spread(ports, gate), found.gather

    def _when(self, step: StepIn, ports: dict[str, Port], scope: _Scope) -> tuple[_Scope, dict[str, Port], _Restore]:
        """Leave out the executions whose condition is false for sure; their outputs are null."""
        self._try([Written(field_place(step.place, "when"), step.cwl.when)], ports, scope, step.requirements)
        conditions = self._evaluate(step.cwl.when, ports, scope.count, step.requirements)
        wrong = [c for c in conditions if c is not UNKNOWN and not isinstance(c, bool)]
        if wrong and scope.source in ("document", "inputs") and not scope.may_be_skipped:
            what = f"the condition gives {shortly(wrong[0])}, which is neither true nor false"
            self.errors.append(UserError(what, where=field_place(step.place, "when")))
        runs = [c is not False for c in conditions]
        unsure = any(c is not True and c is not False for c in conditions)

        def restore(port: Port) -> Port:
            def values() -> list[Any]:
                ran = iter(port.values)
                made = [next(ran) if run else None for run in runs]
                return [v if c is True or c is False else UNKNOWN for v, c in zip(made, conditions, strict=True)]

            return Port(values, port.producers)

        inner = replace(scope, count=sum(runs), may_be_skipped=scope.may_be_skipped or unsure)
        if all(runs):
            return inner, ports, restore
        return inner, {n: _only(p, runs) for n, p in ports.items()}, restore

    def _loop(
        self, step: StepIn, loop: Loop, ports: dict[str, Port], scope: _Scope
    ) -> tuple[_Scope, dict[str, Port], _Restore]:
        """Every round but the first gets other values; how many rounds there are the run tells."""
        first = self._evaluate(loop.when, ports, scope.count, step.requirements) if loop.when else [True]
        carried = {n: constant(UNKNOWN, scope.count, p.producers) for n, p in ports.items() if n in loop.carries}
        inner = replace(
            scope,
            loops=(*scope.loops, step.name),
            may_be_skipped=scope.may_be_skipped or not all(c is True for c in first),
        )
        return inner, ports | carried, lambda port: constant(UNKNOWN, scope.count, port.producers)

    def _evaluate(
        self, text: Any, ports: Mapping[str, Port], count: int, requirements: Requirements, itself: Port | None = None
    ) -> list[Any]:
        """The value of an expression in each of `count` executions."""
        if not is_expression(text):
            return [text] * count
        library = requirements.library
        return [
            self.evaluator.evaluate(text, _Execution(ports, i), library, itself.values[i] if itself else None)
            for i in range(count)
        ]


class _Execution(Mapping[str, Any]):
    """The inputs of one execution; a port that nobody asks for is never computed."""

    def __init__(self, ports: Mapping[str, Port], index: int) -> None:
        self._ports = ports
        self._index = index

    def __getitem__(self, name: str) -> Any:
        return self._ports[name].values[self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)


def _declares_stderr(tool: Any) -> bool:
    return getattr(tool, "stderr", None) is not None or any(o.type_ == "stderr" for o in tool.outputs)


def _program(tool: Any) -> str | None:
    """The first word of a tool's command, if it is no path and its PATH is not the tool's own."""
    said = getattr(tool, "baseCommand", None)
    first = said if isinstance(said, str) else next(iter(said or []), None)
    own = any(
        getattr(r, "class_", "") == "EnvVarRequirement" for r in [*(tool.requirements or []), *(tool.hints or [])]
    )
    return None if own or not isinstance(first, str) or "/" in first else first


def _success_codes(tool: Any) -> frozenset[int]:
    """As StreamFlow takes them: 0 always is one, and what is a failure's, too, is none."""

    def codes(name: str) -> set[int]:
        return set(getattr(tool, name, None) or ())

    return frozenset(({0} | codes("successCodes")) - codes("permanentFailCodes") - codes("temporaryFailCodes"))


def _only(port: Port, chosen: list[bool]) -> Port:
    return Port(lambda: [v for v, c in zip(port.values, chosen, strict=True) if c], port.producers)


def _member(results: Port, name: str, producers: frozenset[str]) -> Port:
    return Port(lambda: [r.get(name) if isinstance(r, Mapping) else UNKNOWN for r in results.values], producers)
