"""CWL documents, each file read and each process parsed once, as StreamFlow parses them (cwl-utils)."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from streamflow_fluxop.bounded import INPUTS_MOST, MIB, YAML_MOST, load_json, load_yaml
from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.hint import refuse_as_requirement
from streamflow_fluxop.cwl.source_location import SourceLocation, entries, last, line_of, no_yaml, shown

_VERSIONS = ("v1.0", "v1.1", "v1.2")


@dataclass(frozen=True)
class Process:
    """A CWL process (tool, expression tool, operation or workflow) and the YAML that it was parsed from.

    Attributes:
        cwl: cwl-utils' object.
        version: the document's `cwlVersion`; an inline process has that of its document.
        prefix: what StreamFlow strips from the ids inside (its `cwl_name_prefix`).
        yaml: the mapping that was parsed, None where nobody knows it.
        namespaces: the document's `$namespaces`, which cwl-utils drops where they stand beside `$graph`.
    """

    cwl: Any
    version: str
    prefix: str
    yaml: Any
    namespaces: Mapping[str, str]

    @property
    def kind(self) -> str:
        """CWL's class: CommandLineTool, ExpressionTool, Operation or Workflow."""
        return str(self.cwl.class_)

    @property
    def file(self) -> str:
        """The file that it stands in, as a user would type it."""
        return shown(str(self.cwl.loadingOptions.fileuri))


class Documents:
    """The CWL documents that one reading meets.

    Args:
        web: whether those on the web are read.
    """

    def __init__(self, *, web: bool = False) -> None:
        self._web = web
        self._yaml: dict[str, Any] = {}
        self._imported: set[str] = set()
        self._processes: dict[str, Process] = {}

    def load(self, uri: str, options: Any = None) -> Process:
        """Load a process by its URI or path.

        Args:
            uri: of a file, with `#name` for one process of a packed document (else `#main`).
            options: the loading options of the document that refers to it.

        Raises:
            UnreadableCWL: there is no such file or process, or it is not valid CWL.
        """
        from cwl_utils.parser import load_document_by_yaml

        file, fragment = urldefrag(uri)
        file = _absolute(file)
        key = f"{file}#{fragment}"
        if key not in self._processes:
            with reading(file):
                yaml = self._read(file)
            if isinstance(yaml, Mapping) and not isinstance(yaml.get("$namespaces") or {}, Mapping):
                raise UnreadableCWL("$namespaces is no mapping", where=shown(file), fix="Write `{prefix: URI}`.")
            self._check_version(yaml, file)
            try:
                with reading(file):
                    cwl = load_document_by_yaml(yaml, file, self._options(file, yaml, options), fragment or None)
            except UnreadableCWL as error:
                self._look_again(yaml, file, fragment, error)
                raise
            prefix = "/" + cwl.id.split("#")[-1] if "#" in cwl.id else "/"
            namespaces = {**(yaml.get("$namespaces") or {}), **(cwl.loadingOptions.namespaces or {})}
            self._processes[key] = Process(cwl, str(cwl.cwlVersion), prefix, _element(yaml, fragment), namespaces)
        return self._processes[key]

    def inputs(self, uri: str) -> Mapping[str, Any]:
        """Read an inputs file, as plain JSON values.

        cwl-utils' own reader gives the same values, and takes seconds for an array of some thousands.

        Raises:
            UnreadableCWL: there is no such file, or it is no mapping.
        """
        file = _absolute(uri)
        with reading(file):
            text = self._fetcher.fetch_text(file, most=INPUTS_MOST)
            try:
                loaded = load_json(text)
            except json.JSONDecodeError:
                if len(text) > YAML_MOST:
                    raise ValueError(f"it is larger than {YAML_MOST // MIB} MiB, and no JSON") from None
                loaded = load_yaml(text)
        if not isinstance(loaded, Mapping):
            raise UnreadableCWL("the inputs are no mapping", where=shown(file), fix="Give a value to each input.")
        return loaded

    def run_of(self, workflow: Process, step: Any, step_yaml: Any, name: str) -> Process:
        """The process that a workflow step runs: inline, or in another file or another part of this one.

        Args:
            workflow: that the step is one of.
            step: cwl-utils' WorkflowStep.
            step_yaml: the YAML of the step, None where nobody knows it.
            name: the step's StreamFlow path.

        Raises:
            UnreadableCWL: see `load`.
        """
        if isinstance(step.run, str):
            return self._run_elsewhere(step, SourceLocation(workflow.file, step_yaml, f"step {name}: run", "run"))
        tail = step.run.id.split("#")[-1]
        if ":" not in tail:
            prefix = "/" + tail
        elif workflow.version == "v1.0":
            prefix = name
        else:
            prefix = f"/{step.id.split('#')[-1]}/run"
        yaml = step_yaml.get("run") if isinstance(step_yaml, Mapping) else None
        yaml = yaml if isinstance(yaml, Mapping) else None
        return Process(step.run, workflow.version, prefix, yaml, workflow.namespaces)

    def _run_elsewhere(self, step: Any, place: SourceLocation) -> Process:
        from streamflow_fluxop.cwl.suspects import NoSuchProcess

        options = step.loadingOptions
        uri = options.fetcher.urljoin(base_url=options.fileuri, url=step.run)
        parts = urlsplit(uri)
        if parts.scheme == "file" and os.path.isdir(unquote(parts.path)):
            raise UnreadableCWL(f"{shown(uri)} is a directory", where=str(place), fix="Name a CWL file.")
        try:
            return self.load(uri, options)
        except NoSuchProcess as error:
            raise UnreadableCWL(error.what, where=str(place), fix=error.fix) from None

    def _read(self, file: str) -> Any:
        if file not in self._yaml:
            self._yaml[file] = load_yaml(self._fetcher.fetch_text(file), "cwl")
            self._check_imports(self._yaml[file], file, (file,))
        return self._yaml[file]

    def _check_imports(self, yaml: Any, file: str, around: tuple[str, ...]) -> None:
        """Check what a document imports before cwl-utils does, which takes all that there is, again and again."""
        if isinstance(yaml, Mapping):
            for value in yaml.values():
                self._check_imports(value, file, around)
            imported = yaml.get("$import")
            if isinstance(imported, str):
                there = urldefrag(self._fetcher.urljoin(file, imported))[0]
                if urlsplit(there).scheme == "file" and not os.path.exists(unquote(urlsplit(there).path)):
                    place = SourceLocation(shown(file), yaml, "$import", "$import")
                    raise UnreadableCWL(f"there is no file {shown(there)}", where=str(place))
                self._check_import(there, around)
        elif isinstance(yaml, Sequence) and not isinstance(yaml, str):
            for value in yaml:
                self._check_imports(value, file, around)

    def _check_version(self, yaml: Any, file: str) -> None:
        """Refuse a `cwlVersion` that StreamFlow does not run; where there is none, cwl-utils says so."""
        version = yaml.get("cwlVersion") if isinstance(yaml, Mapping) else None
        if version is not None and str(version) not in _VERSIONS:
            where = SourceLocation(shown(file), yaml, "cwlVersion", "cwlVersion")
            raise UnreadableCWL(
                f"there is no CWL version {version} here", where=str(where), fix=f"Those are: {', '.join(_VERSIONS)}."
            )

    def _look_again(self, yaml: Any, file: str, fragment: str, error: UnreadableCWL) -> None:
        """Say in our own words what is wrong with a document that cwl-utils refuses, where we know."""
        from streamflow_fluxop.cwl.invalid import VAGUE
        from streamflow_fluxop.cwl.suspects import refuse_graph, refuse_requirements

        refuse_as_requirement(yaml, shown(file))
        refuse_graph(yaml, fragment, shown(file))
        version = str(yaml.get("cwlVersion")) if isinstance(yaml, Mapping) else ""
        if version in _VERSIONS and VAGUE in error.what:
            refuse_requirements(yaml, shown(file), file, version)

    def _check_import(self, file: str, around: tuple[str, ...]) -> None:
        if file in around:
            raise UnreadableCWL(f"imports itself: {' -> '.join(map(shown, (*around, file)))}", where=shown(file))
        if file not in self._imported and urlsplit(file).scheme in ("", "file", "http", "https"):
            with reading(file):
                self._check_imports(load_yaml(self._fetcher.fetch_text(file), "cwl"), file, (*around, file))
            self._imported.add(file)

    def _options(self, file: str, yaml: Any, outer: Any) -> Any:
        """cwl-utils' loading options, of its class for the document's version; `outer` are the referring document's."""
        from cwl_utils import parser

        if outer is not None:
            return type(outer)(fileuri=file, baseuri=file.rsplit("/", 1)[0], copyfrom=outer)
        known = {"v1.0": parser.cwl_v1_0, "v1.1": parser.cwl_v1_1, "v1.2": parser.cwl_v1_2}
        module = known.get(str(parser.cwl_version(yaml)))
        return module.LoadingOptions(fetcher=self._fetcher, fileuri=file) if module else None

    @cached_property
    def _fetcher(self) -> Any:
        from streamflow_fluxop.cwl.fetcher import Fetcher

        return Fetcher(web=self._web)


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn what cwl-utils raises on a broken document, or on broken inputs, into one error; keep it from logging."""
    from cwl_utils.errors import GraphTargetMissingException, WorkflowException
    from ruamel.yaml.error import YAMLError
    from schema_salad.exceptions import SchemaSaladException

    quiet = logging.getLogger("salad")
    before = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        yield
    except YAMLError as error:
        said = no_yaml(error, shown(file))
        raise UnreadableCWL(said.what, where=said.where) from error
    except SchemaSaladException as error:
        from streamflow_fluxop.cwl.invalid import mistakes

        (where, what), *more = mistakes(error) or [(None, type(error).__name__)]
        text = "\n".join([f"is not valid CWL: {what}", *(f"{w or shown(file)}: {m}" for w, m in more)])
        raise UnreadableCWL(text, where=where or shown(file)) from error
    except RecursionError:
        raise UnreadableCWL("is not valid CWL: its parts lie too deep in each other", where=shown(file)) from None
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        # what the parser stumbles over: it expects a mapping, or a text, and there is none
        raise UnreadableCWL(
            "is not valid CWL: something here is of a kind that CWL does not expect",
            where=_parsed_last(error, shown(file)),
            fix="Look for a list or mapping where a name belongs, or a name where a mapping belongs.",
        ) from error
    except GraphTargetMissingException as error:
        names = re.findall(r"#[^\s,]+", str(error)) or ["#NAME"]
        raise UnreadableCWL(
            f"has several processes, and none is called main: {', '.join(names)}",
            where=shown(file),
            fix=f"Say which one is to run, behind the file's name: `file: {os.path.basename(file)}{names[0]}`.",
        ) from error
    except (WorkflowException, OSError, ValueError) as error:
        reason = str(error).strip() or type(error).__name__
        raise UnreadableCWL(f"can't be read: {reason}", where=shown(file)) from error
    finally:
        quiet.setLevel(before)


def _parsed_last(error: Exception, file: str) -> str:
    """The place of what a parser had in its hands when it stumbled: the innermost YAML node in its frames."""
    line, trace = None, error.__traceback__
    while trace is not None:
        for name in ("doc", "_doc", "val", "node", "item"):
            line = line_of(trace.tb_frame.f_locals.get(name)) or line
        trace = trace.tb_next
    return f"{file}:{line}" if line else file


def _absolute(uri: str) -> str:
    """A URI of a path or URI. Symbolic links are resolved, as in StreamFlow: ids and relative names hang on it."""
    if urlsplit(uri).scheme not in ("", "file"):
        return uri
    return Path(unquote(urlsplit(uri).path) if "://" in uri else uri).resolve().as_uri()


def _element(yaml: Any, fragment: str) -> Any:
    if isinstance(yaml, Mapping) and "$graph" in yaml:
        name = fragment or "main"
        return next((e for e in yaml["$graph"] if str(e.get("id", "")).lstrip("#") == name), None)
    return yaml


def step_yaml(process: Process, identifier: str) -> Any:
    """The YAML of one step of a workflow, None where nobody knows it."""
    name = last(identifier)
    for key, value, _ in entries(process.yaml, "steps"):
        if last(key) == name or (isinstance(value, Mapping) and last(str(value.get("id", ""))) == name):
            return value
    return None


def requirement_place(file: str, yaml: Any, section: str, kind: str, words: str) -> SourceLocation:
    """Where a process or step says the requirement of class `kind`; `section` is `requirements` or `hints`."""
    node = None
    for name, value, container in entries(yaml, section):
        if last(name).rpartition(":")[2] == kind:
            node = value if isinstance(value, Mapping) and value else container
    return SourceLocation(file, node, f"{words}: {section}.{kind}" if words else f"{section}.{kind}")
