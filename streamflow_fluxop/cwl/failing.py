"""Expressions that fail in every run: what the run would find hours later is refused before it.

Only what surely takes place counts: nothing in steps that may be skipped, or whose number of jobs is a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamflow_fluxop.cwl.expressions import Expressions, is_expression, only_references
from streamflow_fluxop.cwl.known_values import UNKNOWN
from streamflow_fluxop.cwl.parsed_documents import Process
from streamflow_fluxop.cwl.requirements import Requirements
from streamflow_fluxop.cwl.source_location import SourceLocation, entry_place, last, line_of
from streamflow_fluxop.errors import UserError

_EXECUTIONS_TRIED = 20
_LONGEST = 80
"""Characters of an expression that are shown."""
_RESOURCES = ("cores", "ram", "tmpdir", "outdir")


@dataclass(frozen=True)
class Written:
    """An expression and where it stands.

    Attributes:
        where: file, line, step and field.
        text: the expression.
        of: the input whose value is `self`; None where `self` is null.
        self_unknown: only the run tells what `self` is.
    """

    where: str
    text: Any
    of: str | None = None
    self_unknown: bool = False


@dataclass(frozen=True)
class Trial:
    """An expression with all that it is evaluated with, for some executions.

    Attributes:
        written: the expression.
        inputs: of each execution.
        library: see `Expressions.evaluate`.
        itself: `self` for each execution; None: see `Written`.
    """

    written: Written
    inputs: tuple[Mapping[str, Any], ...]
    library: list[str] | None
    itself: Any = None


def trials(
    written: Iterable[Written], inputs: Iterable[Mapping[str, Any]], library: list[str] | None, itself: Any = None
) -> Iterator[Trial]:
    """One for each that is an expression, of the first executions.

    Args:
        written: what may be expressions.
        inputs: of all executions.
        library: see `Expressions.evaluate`.
        itself: a function that gives `self` of each execution; None: see `Written`.
    """
    some = tuple(one for one, _ in zip(inputs, range(_EXECUTIONS_TRIED), strict=False))
    for one in written:
        if is_expression(one.text):
            yield Trial(one, some, library, itself)


def failures(tried: Iterable[Trial], evaluator: Expressions) -> Iterator[UserError]:
    """What fails, each expression once."""
    for trial in tried:
        why = next(filter(None, _whys(trial, evaluator)), None)
        if why is not None:
            whole = str(trial.written.text)
            what, fix = _said(why, trial.library)
            if _in_a_script(whole) and (part := _for_a_shell(why)) and part in whole:
                fix = " ".join(filter(None, (f"What a shell is to see has a backslash before it: \\{part}.", fix)))
                whole = part
            text = " ".join(whole.split())
            text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
            yield UserError(f"the expression {text} fails: {what}", where=trial.written.where, fix=fix)


def first_script(tried: Iterable[Trial]) -> str | None:
    """Where the first expression stands that is JavaScript, not references alone; None: there is none."""
    scripts = (t for t in tried if t.library is not None and not only_references(str(t.written.text)))
    return next((t.written.where for t in scripts), None)


def _whys(trial: Trial, evaluator: Expressions) -> Iterator[str | None]:
    written = trial.written
    values = trial.itself() if trial.itself is not None else None
    for index, inputs in enumerate(trial.inputs):
        itself = UNKNOWN if written.self_unknown else None
        if values is not None:
            itself = values[index]
        elif written.of is not None:
            itself = inputs[written.of]
            if itself is None or itself is UNKNOWN:
                continue  # of null, there is no binding
        yield evaluator.failure(written.text, inputs, trial.library, itself)


def _in_a_script(text: str) -> bool:
    """Whether expressions stand within lines of something else, such as a shell's."""
    return "\n" in text.strip() and re.match(r"\s*\$[({]", text) is None


def _for_a_shell(why: str) -> str | None:
    """What a shell calls a variable or command, and CWL takes for an expression; None: it fails for another reason."""
    if reference := _CWL_UTILS.match(why):
        said = reference[1]
        of_cwl = re.match(r"[({]?(inputs|self|runtime)\b", said)
        return None if of_cwl else f"${said}" if said[0] in "({" else f"$({said})"
    name = re.match(r"ReferenceError: (\w+) is not defined", why)
    return f"${{{name[1]}}}" if name else None


_CWL_UTILS = re.compile(
    r"Syntax error in parameter reference '(\{.*\}|\(.*\)|[^']*)'(?:: (.*?))?\.+ This could be", re.DOTALL
)
"""What cwl-utils says of an expression (with quotes of its own, perhaps), and why."""
_NO_JAVASCRIPT = "Without an InlineJavascriptRequirement only references such as $(inputs.x) are understood."


def _said(why: str, library: list[str] | None) -> tuple[str, str | None]:
    """cwl-utils' or JavaScript's words in a line, and a remedy."""
    if of_cwl_utils := _CWL_UTILS.match(why):
        reason = of_cwl_utils[2]
        known = bool(reason) and not reason.endswith("is unexpected")
        return (reason if known else "it is no reference"), None if library is not None else _NO_JAVASCRIPT
    if why.startswith("Substitution error"):
        return "a bracket or quote in it is never closed", None
    return " ".join(why.split()), None


def field_place(place: SourceLocation, key: str, index: int | None = None) -> str:
    """Where a field of a process or step stands, or an entry of one that is a list."""
    node, of_list = place.node, index is not None
    inner = node.get(key) if of_list and isinstance(node, Mapping) else None
    words = ": ".join(filter(None, (place.words, f"{key}[{index}]" if of_list else key)))
    if isinstance(inner, list) and line_of(inner, index):
        return str(SourceLocation(place.file, inner, words, index))
    return str(SourceLocation(place.file, node, words, key))


def of_tool(process: Process, requirements: Requirements, words: str) -> Iterator[Written]:
    """The expressions of a tool that every job of it evaluates.

    Args:
        process: a tool or expression tool.
        requirements: as they hold in it.
        words: what to call it in messages, empty for the root.
    """
    tool, place = process.cwl, SourceLocation(process.file, process.yaml, words)
    if process.kind == "ExpressionTool":
        yield Written(field_place(place, "expression"), tool.expression)
        return
    for key in ("stdin", "stdout", "stderr"):
        yield Written(field_place(place, key), getattr(tool, key, None))
    for index, argument in enumerate(getattr(tool, "arguments", None) or ()):
        yield from _of_binding(field_place(place, "arguments", index), argument, None)
    for port in tool.inputs:
        if getattr(port, "inputBinding", None) is not None:
            name = last(port.id)
            where = str(entry_place(process.file, process.yaml, "inputs", name, words))
            yield from _of_binding(f"{where}.inputBinding", port.inputBinding, name)
    yield from _of_requirements(requirements)
    for port in tool.outputs:
        binding = getattr(port, "outputBinding", None)
        if binding is not None:
            where = str(entry_place(process.file, process.yaml, "outputs", last(port.id), words))
            globs = binding.glob if isinstance(binding.glob, list) else [binding.glob]
            yield from (Written(f"{where}.outputBinding.glob", glob) for glob in globs)
            yield Written(f"{where}.outputBinding.outputEval", binding.outputEval, self_unknown=True)


def _of_binding(where: str, binding: Any, of: str | None) -> Iterator[Written]:
    if isinstance(binding, str):
        yield Written(where, binding)
        return
    for key in ("valueFrom", "position"):
        yield Written(f"{where}.{key}", getattr(binding, key, None), of)


def _of_requirements(requirements: Requirements) -> Iterator[Written]:
    resources = requirements.get("ResourceRequirement")
    if resources is not None:
        for name in _RESOURCES:
            keys = [f"{name}Min", f"{name}Max"]
            key = next((k for k in keys if getattr(resources.value, k, None) is not None), keys[0])
            yield Written(resources.place.at(key), getattr(resources.value, key, None))
    found = requirements.requirements
    if (limit := found.get("ToolTimeLimit")) is not None:
        yield Written(limit.place.at("timelimit"), getattr(limit.value, "timelimit", None))
    if (environment := found.get("EnvVarRequirement")) is not None:
        for entry in getattr(environment.value, "envDef", None) or ():
            yield Written(environment.place.at("envDef"), getattr(entry, "envValue", None))
    if (work := found.get("InitialWorkDirRequirement")) is not None:
        listing = getattr(work.value, "listing", None)
        for entry in listing if isinstance(listing, list) else [listing]:
            for text in (entry, getattr(entry, "entryname", None), getattr(entry, "entry", None)):
                yield Written(work.place.at("listing"), text)
