"""Where cwl-utils only says that a document is wrong: a second look, for what is wrong and where."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from schema_salad.exceptions import SchemaSaladException

from streamflow_fluxop.cwl.classes import CWL_S_OWN
from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.invalid import guessed, mistakes
from streamflow_fluxop.cwl.source_location import SourceLocation, entries


class NoSuchProcess(UnreadableCWL):
    """A packed document has no process of the name that is wanted."""


def refuse_graph(yaml: Any, fragment: str, file: str) -> None:
    """Say what is wrong with the `$graph` of a packed document.

    Args:
        yaml: a document.
        fragment: the process that is wanted; empty: `main`, whose absence is told elsewhere.
        file: as a user would type it.

    Raises:
        UnreadableCWL: it is no list of processes with names, or the one that is wanted is not there.
    """
    if not isinstance(yaml, Mapping) or "$graph" not in yaml:
        return
    graph, place = yaml["$graph"], SourceLocation(file, yaml, "$graph", "$graph")
    if not isinstance(graph, list) or not all(isinstance(p, Mapping) for p in graph):
        raise UnreadableCWL("is no list of processes", where=str(place), fix="Begin each with `- id: …`.")
    names = []
    for index, process in enumerate(graph):
        at = str(SourceLocation(file, graph, f"$graph[{index}]", index))
        if not isinstance(process.get("id"), str):
            raise UnreadableCWL("the process has no `id`", where=at, fix="Give it one, such as `id: main`.")
        name = process["id"].lstrip("#")
        if name in names:
            raise UnreadableCWL(f"there is a second process `{name}`", where=at, fix="Give it another `id`.")
        names.append(name)
    if fragment and fragment not in names:
        what = f"there is no process `{fragment}` in {file}"
        raise NoSuchProcess(what, where=str(place), fix=f"It has: {', '.join(names)}.")


def refuse_requirements(yaml: Any, file: str, uri: str, version: str) -> None:
    """Say which entry of some `requirements` is wrong, and why.

    Args:
        yaml: a document, or a part of it.
        file: as a user would type it.
        uri: of the file.
        version: CWL's.

    Raises:
        UnreadableCWL: a requirement that this version does not know, or whose fields are wrong.
    """
    module = importlib.import_module(f"cwl_utils.parser.cwl_{version.replace('.', '_')}")
    known = sorted(name for name in CWL_S_OWN if hasattr(module, name))
    found = [e for part in _parts(yaml) for e in _wrong(part, file, uri, module, known)]
    if found:
        where, what = found[0]
        raise UnreadableCWL("\n".join([what, *(f"{w}: {m}" for w, m in found[1:])]), where=where)


def _parts(yaml: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in a document."""
    if isinstance(yaml, Mapping):
        yield yaml
    for part in yaml.values() if isinstance(yaml, Mapping) else yaml if isinstance(yaml, list) else ():
        yield from _parts(part)


def _wrong(part: Mapping[str, Any], file: str, uri: str, module: Any, known: list[str]) -> Iterator[tuple[str, str]]:
    for kind, value, container in entries(part, "requirements"):
        if ":" in kind or "#" in kind:
            continue
        listed = value is container
        place = SourceLocation(
            file, container, f"requirements.{kind}" if kind else "requirements", None if listed else kind
        )
        if kind not in known:
            yield str(place), f"there is no requirement `{kind}` here: {guessed(kind, known)}"
            continue
        document = {"class": kind, **value} if isinstance(value, Mapping) else {"class": kind}
        try:
            getattr(module, kind).fromDoc(document, uri, module.LoadingOptions(fileuri=uri))
        except SchemaSaladException as error:
            for where, what in mistakes(error)[:1]:  # of alternatives, the first
                yield f"{where}: {place.words}" if where else str(place), what
