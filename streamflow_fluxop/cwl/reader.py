"""Reads a CWL workflow and its inputs into a graph."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import Any

from streamflow_fluxop.cwl.documents import Documents, Process, reading, step_yaml
from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.expressions import Expressions, expressions
from streamflow_fluxop.cwl.graph import CWLStep, CWLWorkflow
from streamflow_fluxop.cwl.hint import merge
from streamflow_fluxop.cwl.needs import Asked, asked
from streamflow_fluxop.cwl.places import Place, last, shown
from streamflow_fluxop.cwl.requirements import Requirements, Said
from streamflow_fluxop.cwl.scatter import Known, Scatter, least_sure, scatter
from streamflow_fluxop.cwl.values import UNKNOWN, Port, constant, from_document, merged, picked
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.model import Dependency

ASSUMED_DURATION = 60.0
"""Seconds that a job is assumed to run when nothing tells."""

ASSUMED_WIDTH = 1
"""Length that an array is assumed to have when nothing tells."""


def read_workflow(
    cwl_file: str,
    inputs_file: str | None = None,
    name: str = "workflow",
    *,
    assumed_duration: float = ASSUMED_DURATION,
    assumed_width: int = ASSUMED_WIDTH,
    javascript: bool = True,
) -> CWLWorkflow:
    """Read a CWL workflow, or a single tool, as StreamFlow will run it.

    Blocks: it reads files, and where a width, a condition or a need hangs on a JavaScript expression it runs node for
    5 s at most. On an event loop call it in a thread, or before the loop.

    Args:
        cwl_file: path or URI, with `#name` for one process of a packed document.
        inputs_file: path or URI of the job order; None: no inputs.
        name: of the workflow.
        assumed_duration: seconds that a job is assumed to run when nothing tells.
        assumed_width: length that an array is assumed to have when nothing tells.
        javascript: whether to evaluate JavaScript; where not, what hangs on it is known at run time only.

    Raises:
        UnreadableCWL: a document can't be read, or StreamFlow can't run it.
        UserErrors: mistakes in our own hint.
    """
    documents = Documents()
    root = documents.load(cwl_file)
    inputs = _read_inputs(inputs_file, root)
    with expressions(javascript=javascript) as evaluator:
        walk = _Walk(documents, evaluator, inputs, assumed_duration, assumed_width)
        steps = walk.root(root)
    if walk.errors:
        raise UserErrors(list({str(e): e for e in walk.errors}.values()))
    return CWLWorkflow(name=name, file=shown(root.cwl.id), steps=steps)


@dataclass(frozen=True)
class _Inputs:
    values: Mapping[str, Any]
    requirements: Mapping[str, Said]


def _read_inputs(path: str | None, root: Process) -> _Inputs:
    if path is None:
        return _Inputs({}, {})
    from cwl_utils.parser.utils import load_inputfile_by_uri

    with reading(path):
        loaded = load_inputfile_by_uri(root.version, path, root.cwl.loadingOptions)
        if not isinstance(loaded, Mapping):
            raise UnreadableCWL("the inputs are no mapping", where=shown(path), fix="Give a value to each input.")
        place = Place(shown(path), None, "cwl:requirements")
        requirements = {str(r.class_): Said(r, place) for r in loaded.get("cwl:requirements", [])}
    base = path if "://" in path else "file://" + os.path.abspath(path)
    return _Inputs({k: from_document(v, base) for k, v in loaded.items()}, requirements)


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
    """

    count: int = 1
    source: Known = "document"
    scatters: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    may_be_skipped: bool = False
    written: tuple[int, ...] = ()


@dataclass(frozen=True)
class _StepIn:
    """A workflow step on its way through scatter, loop and condition to the process that it runs.

    Attributes:
        cwl: cwl-utils' WorkflowStep.
        name: its StreamFlow path.
        process: what it runs.
        requirements: as they hold in the step.
        inner: as they hold in what it runs.
    """

    cwl: Any
    name: str
    process: Process
    requirements: Requirements
    inner: Requirements


_Restore = Callable[[Port], Port]
"""Makes an output of the step's process an output of the step."""


class _Walk:
    """One way through a workflow, from its inputs to its outputs."""

    def __init__(
        self,
        documents: Documents,
        evaluator: Expressions,
        inputs: _Inputs,
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

    def root(self, process: Process) -> dict[str, CWLStep]:
        """All steps of a workflow, or the one of a tool that is run alone."""
        requirements = Requirements(process.version).entered(
            process.cwl, process.yaml, "", process.namespaces, self.errors, self.inputs.requirements
        )
        ports = {last(i.id): constant(self._given(i), 1) for i in process.cwl.inputs}
        self._process(process, "/", ports, _Scope(), requirements)
        return {name: self._found[name] for name in sorted(self._found, key=self._order.__getitem__)}

    def _given(self, declared: Any) -> Any:
        """The value of an input of the workflow; one that has to be given and isn't is unknown."""
        optional = declared.default is not None or "null" in (
            declared.type_ if isinstance(declared.type_, list) else ()
        )
        return self.inputs.values.get(last(declared.id), None if optional else UNKNOWN)

    # processes

    def _process(
        self, process: Process, name: str, given: Mapping[str, Port], scope: _Scope, requirements: Requirements
    ) -> dict[str, Port]:
        """Walk through one process; return its outputs."""
        ports = {last(i.id): self._process_input(i, given, scope) for i in process.cwl.inputs}
        if process.kind == "Workflow":
            return self._workflow(process, name, ports, scope, requirements)
        return self._tool(process, name, ports, scope, requirements)

    def _process_input(self, declared: Any, given: Mapping[str, Port], scope: _Scope) -> Port:
        port = given.get(last(declared.id), constant(None, scope.count))
        if declared.default is None:
            return port
        return _with_default(port, from_document(declared.default, str(declared.loadingOptions.fileuri)))

    def _tool(
        self, process: Process, name: str, ports: Mapping[str, Port], scope: _Scope, requirements: Requirements
    ) -> dict[str, Port]:
        producers = frozenset().union(*(p.producers for p in ports.values()))
        after = [self._dependency(p, scope) for p in sorted(producers)]
        wanted = self._asked(requirements, ports, scope)
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
        )
        results = self._expression_results(process, ports, scope, requirements)
        return {last(o.id): _output(results, last(o.id), frozenset({name})) for o in process.cwl.outputs}

    def _dependency(self, producer: str, scope: _Scope) -> Dependency:
        """Job waits for job where both lie in one scatter around them, none scatters itself, and all jobs are there."""
        other = self._found[producer]
        each = bool(scope.scatters) and other.scatters == scope.scatters and other.jobs == scope.count
        return Dependency(step=producer, each=each)

    def _asked(self, requirements: Requirements, ports: Mapping[str, Port], scope: _Scope) -> Asked:
        try:
            return asked(requirements, lambda text: self._evaluate(text, ports, scope.count, requirements))
        except UserError as error:
            self.errors.append(error)
            return Asked()

    def _expression_results(
        self, process: Process, ports: Mapping[str, Port], scope: _Scope, requirements: Requirements
    ) -> Port:
        """What an ExpressionTool returns; of all other tools only the run tells."""
        if process.kind != "ExpressionTool":
            return constant(UNKNOWN, scope.count)
        return Port(lambda: self._evaluate(process.cwl.expression, ports, scope.count, requirements))

    def _workflow(
        self, process: Process, name: str, ports: Mapping[str, Port], scope: _Scope, requirements: Requirements
    ) -> dict[str, Port]:
        prefix = process.prefix
        known = {_local(prefix, i.id): ports[last(i.id)] for i in process.cwl.inputs}
        steps = {_local(prefix, s.id): s for s in process.cwl.steps}
        written = {key: index for index, key in enumerate(steps)}
        for key in self._in_order(process, steps):
            at = replace(scope, written=(*scope.written, written[key]))
            known |= self._step(process, steps[key], name, known, at, requirements)
        return {last(o.id): _linked(o, o.outputSource, known, prefix, scope.count) for o in process.cwl.outputs}

    def _in_order(self, process: Process, steps: Mapping[str, Any]) -> list[str]:
        graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(steps, ()))
        for key, step in steps.items():
            for source in (s for i in step.in_ for s in _sources(i.source)):
                producer = _local(process.prefix, source).rpartition("/")[0]
                if producer in steps:
                    graph.add(key, producer)
        try:
            return list(graph.static_order())
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise UnreadableCWL(
                f"the steps wait for each other: {cycle}", where=process.file, fix="Take one of these links out."
            ) from None

    # steps

    def _step(
        self,
        workflow: Process,
        cwl: Any,
        parent: str,
        known: Mapping[str, Port],
        scope: _Scope,
        outer: Requirements,
    ) -> dict[str, Port]:
        """Walk through one step; return its outputs by `step/output`."""
        key = _local(workflow.prefix, cwl.id)
        step = self._enter(workflow, cwl, str(PurePosixPath(parent, key)), outer)
        ports = self._step_inputs(step, known, workflow.prefix, scope)
        inner, ports, restores = scope, ports, []
        names = _scattered(cwl)
        if names:
            inner, ports, restore = self._scatter(step, names, ports, inner, outer)
            restores.append(restore)
        ports = self._values_from(step, ports, inner)
        loop = _loop(cwl, step.requirements)
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
        return {f"{key}/{n}": p for n, p in outputs.items()}

    def _enter(self, workflow: Process, cwl: Any, name: str, outer: Requirements) -> _StepIn:
        yaml, words = step_yaml(workflow, cwl.id), f"step {name}"
        overrides = self.inputs.requirements if name.count("/") == 1 else {}
        requirements = outer.entered(cwl, yaml, words, workflow.namespaces, self.errors, overrides)
        process = self.documents.run_of(workflow, cwl, yaml, name)
        inner = requirements.promoted(process.version).entered(
            process.cwl, process.yaml, words, process.namespaces, self.errors
        )
        return _StepIn(cwl, name, process, requirements, inner)

    def _step_inputs(self, step: _StepIn, known: Mapping[str, Port], prefix: str, scope: _Scope) -> dict[str, Port]:
        ports = {}
        for entry in step.cwl.in_:
            port = _linked(entry, entry.source, known, prefix, scope.count)
            if entry.default is not None:
                default = from_document(entry.default, str(entry.loadingOptions.fileuri))
                port = _with_default(port, default)
            ports[last(entry.id)] = port
        # a default waits for the linked inputs beside it (StreamFlow's DefaultRetagTransformer)
        linked = frozenset().union(*(p.producers for p in ports.values()))
        unlinked = {last(e.id) for e in step.cwl.in_ if e.source is None}
        absent = {last(i.id) for i in step.process.cwl.inputs} - ports.keys()
        ports |= {n: ports[n].waiting_for(linked) for n in unlinked}
        return ports | {n: constant(None, scope.count, linked) for n in absent}

    def _values_from(self, step: _StepIn, ports: dict[str, Port], scope: _Scope) -> dict[str, Port]:
        """Apply `valueFrom`, which sees the inputs as they are before any `valueFrom` (CWL 1.2, WorkflowStepInput)."""
        everything = frozenset().union(*(p.producers for p in ports.values()))
        changed = {
            last(e.id): self._value_from(e, ports, everything, scope, step.requirements)
            for e in step.cwl.in_
            if e.valueFrom is not None
        }
        return ports | changed

    def _value_from(
        self, entry: Any, ports: Mapping[str, Port], producers: frozenset[str], scope: _Scope, req: Requirements
    ) -> Port:
        itself = ports[last(entry.id)]
        return Port(lambda: self._evaluate(entry.valueFrom, ports, scope.count, req, itself), producers)

    def _scatter(
        self, step: _StepIn, names: list[str], ports: dict[str, Port], scope: _Scope, outer: Requirements
    ) -> tuple[_Scope, dict[str, Port], _Restore]:
        own = merge(level for level, _ in step.inner.flux[len(outer.flux) :])
        if any(name not in ports for name in names):
            raise UnreadableCWL(
                f"step {step.name} scatters over an input that it doesn't have",
                where=shown(str(step.cwl.loadingOptions.fileuri)),
                fix=f"Its inputs are {', '.join(ports)}.",
            )
        found: Scatter = scatter(names, step.cwl.scatterMethod, ports, hint=own.width, assumed=self.assumed_width)
        gate = frozenset().union(*(p.producers for p in ports.values()))
        inner = replace(
            scope,
            count=found.count,
            source=least_sure(scope.source, found.source),
            scatters=(*scope.scatters, step.name),
        )
        return inner, found.spread(ports, gate), found.gather

    def _when(self, step: _StepIn, ports: dict[str, Port], scope: _Scope) -> tuple[_Scope, dict[str, Port], _Restore]:
        """Leave out the executions whose condition is false for sure; their outputs are null."""
        conditions = self._evaluate(step.cwl.when, ports, scope.count, step.requirements)
        runs = [c is not False for c in conditions]
        unsure = any(c is not True and c is not False for c in conditions)

        def restore(port: Port) -> Port:
            def values() -> list[Any]:
                ran = iter(port.values)
                made = [next(ran) if run else None for run in runs]
                return [
                    UNKNOWN if run and c is not True else v for v, run, c in zip(made, runs, conditions, strict=True)
                ]

            return Port(values, port.producers)

        inner = replace(scope, count=sum(runs), may_be_skipped=scope.may_be_skipped or unsure)
        if all(runs):
            return inner, ports, restore
        return inner, {n: _only(p, runs) for n, p in ports.items()}, restore

    def _loop(
        self, step: _StepIn, loop: _Loop, ports: dict[str, Port], scope: _Scope
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
        if not isinstance(text, str) or "$" not in text:
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


@dataclass(frozen=True)
class _Loop:
    """A loop of a step: CWL 1.3's, or cwltool's extension.

    Attributes:
        when: the condition of the next round.
        carries: the inputs that get new values each round.
    """

    when: Any
    carries: frozenset[str]


def _loop(step: Any, requirements: Requirements) -> _Loop | None:
    said = requirements.get("Loop")
    if said is not None:
        return _Loop(said.value.loopWhen, frozenset(last(i.id) for i in said.value.loop or []))
    if getattr(step, "loop", None) is not None:
        return _Loop(step.when, frozenset(last(i.id) for i in step.loop))
    return None


def _local(prefix: str, identifier: str) -> str:
    """A CWL id as seen from the process around it: `step`, `step/output` or `input` (StreamFlow's `get_name`)."""
    return posixpath.relpath("/" + identifier.rsplit("#", 1)[-1], prefix)


def _sources(source: Any) -> list[str]:
    if source is None:
        return []
    return [source] if isinstance(source, str) else list(source)


def _scattered(step: Any) -> list[str]:
    return [last(name) for name in _sources(step.scatter)]


def _linked(sink: Any, source: Any, known: Mapping[str, Port], prefix: str, count: int) -> Port:
    """What comes to an input of a step, or an output of a workflow, through its links."""
    names = [_local(prefix, s) for s in _sources(source)]
    if not names:
        return constant(None, count)
    if missing := [n for n in names if n not in known]:
        raise UnreadableCWL(
            f"{last(sink.id)} is linked to {missing[0]}, which is not there",
            where=shown(str(sink.loadingOptions.fileuri)),
        )
    ports = [known[n] for n in names]
    pick_value = getattr(sink, "pickValue", None)
    if len(names) == 1 and pick_value is None and (isinstance(source, str) or sink.linkMerge is None):
        return ports[0]
    if isinstance(source, str):
        return Port(lambda: [picked(v, pick_value) for v in ports[0].values], ports[0].producers)
    return merged(ports, count, sink.linkMerge, pick_value)


def _with_default(port: Port, default: Any) -> Port:
    return Port(lambda: [default if v is None else v for v in port.values], port.producers)


def _declares_stderr(tool: Any) -> bool:
    return getattr(tool, "stderr", None) is not None or any(o.type_ == "stderr" for o in tool.outputs)


def _only(port: Port, chosen: list[bool]) -> Port:
    return Port(lambda: [v for v, c in zip(port.values, chosen, strict=True) if c], port.producers)


def _output(results: Port, name: str, producers: frozenset[str]) -> Port:
    return Port(lambda: [r.get(name) if isinstance(r, Mapping) else UNKNOWN for r in results.values], producers)
