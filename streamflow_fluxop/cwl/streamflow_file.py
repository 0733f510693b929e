"""Reads a StreamFlow file, and knows in which line what stands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamflow_fluxop.cwl.bindings import LOCAL, Binding, BindingTree, BoundWorkflow, Deployment, Target
from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.graph import CWLWorkflow
from streamflow_fluxop.cwl.reader import ASSUMED_DURATION, ASSUMED_WIDTH, read_workflow
from streamflow_fluxop.cwl.source_location import line_of, no_yaml
from streamflow_fluxop.errors import UserError

TYPE = "minicluster"
"""The type of our deployments."""


@dataclass(frozen=True)
class WorkflowEntry:
    """One of the file's CWL workflows.

    Attributes:
        name: its key under `workflows`.
        file: path or URI of the CWL document.
        settings: path or URI of the inputs, None where there are none.
    """

    name: str
    file: str
    settings: str | None


def read_streamflow_file(path: str | os.PathLike[str]) -> StreamFlowFile:
    """Read a StreamFlow file with its line numbers.

    It is checked only as far as it is read here; StreamFlow's own schema checks the rest.

    Raises:
        UserError: there is no such file, or it is no YAML.
    """
    from ruamel.yaml.error import YAMLError

    from streamflow_fluxop.bounded import load_yaml, read_text

    name = os.fspath(path)
    try:
        config = load_yaml(read_text(name), "rt")
    except YAMLError as error:
        raise no_yaml(error, name) from None
    return StreamFlowFile(config, name, config)


class StreamFlowFile:
    """A StreamFlow file: its deployments, workflows and bindings, and where they stand.

    Args:
        config: the file as a mapping.
        path: of the file, as the user typed it; None where there is none.
        lines: the same as ruamel's round-trip loader made it, which knows the lines; None where nobody does.
    """

    def __init__(self, config: Any, path: str | None, lines: Any = None) -> None:
        self.config = config
        self.path = path
        self._lines = lines
        self._mapping(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], path: str | None = None) -> StreamFlowFile:
        """One that StreamFlow has loaded already, whose lines nobody knows.

        Args:
            config: as StreamFlow loaded it, before or after it resolved paths and policies in place; left unchanged.
            path: of the file; None: StreamFlow's own note of it in `config`.
        """
        return cls(config, path or config.get("path"))

    def with_lines(self) -> StreamFlowFile:
        """The same with line numbers, for messages; itself where the file can't be read any more.

        What it says stays as it is: `cwl-runner` puts into its configuration what is in no file.
        """
        if self.path is None or not os.path.isfile(self.path):
            return self
        try:
            return StreamFlowFile(self.config, self.path, read_streamflow_file(self.path).config)
        except UserError:
            return self

    def where(self, *keys: str | int) -> str:
        """The place of a key, such as ``streamflow.yml:12: deployments.fleet.config.flavours.cpu``.

        Args:
            keys: the way to it; where it isn't there, the line is that of the last one that is.
        """
        node, line, words = self._lines, None, ""
        for key in keys:
            words += f"[{key}]" if isinstance(key, int) else f".{key}" if words else key
            if _has(node, key):
                line = line_of(node, key) or line
                node = node[key]
            else:
                node = None
        name = self.path or "the StreamFlow file"
        return ": ".join(filter(None, (f"{name}:{line}" if line else name, words)))

    @property
    def deployments(self) -> dict[str, Deployment]:
        """All deployments, by name.

        Raises:
            UserError: one of them is no mapping or has no type.
        """
        old = not self.config.get("deployments") and "models" in self.config  # the old word, still read
        section = "models" if old else "deployments"
        found = {}
        for name, entry in self._mapping(self.config, section).items():
            entry = self._mapping(self.config, section, name)
            if not isinstance(entry.get("type"), str):
                raise UserError("a deployment without a type", where=self.where(section, name))
            wraps, policy = entry.get("wraps"), entry.get("scheduling_policy")
            found[name] = Deployment(
                name=name,
                type=entry["type"],
                config=entry.get("config") or {},
                workdir=entry.get("workdir"),
                wraps=wraps.get("deployment") if isinstance(wraps, Mapping) else wraps,
                # a loaded configuration has an object with a name where the file has the name
                scheduling_policy=getattr(policy, "name", policy),
            )
        return found

    @property
    def fleets(self) -> dict[str, Deployment]:
        """The deployments of type `minicluster`, by name."""
        return {name: d for name, d in self.deployments.items() if d.type == TYPE}

    @property
    def workflows(self) -> dict[str, WorkflowEntry]:
        """The CWL workflows, by name.

        Raises:
            UserError: one of them names no CWL file.
        """
        found = {}
        for name, entry in self._mapping(self.config, "workflows").items():
            if self._mapping(self.config, "workflows", name).get("type") != "cwl":
                continue
            config = self._mapping(self.config, "workflows", name, "config")
            if not isinstance(config.get("file"), str) or not config["file"]:
                raise UserError(
                    "no CWL file", where=self.where("workflows", name, "config"), fix="Name it as `file: …`."
                )
            settings = entry["config"].get("settings")
            if not isinstance(settings, str | None):
                where = self.where("workflows", name, "config", "settings")
                raise UserError(f"{settings!r} is no name of a file", where=where, fix="Name the inputs file.")
            found[name] = WorkflowEntry(
                name, self._path(config["file"]), None if settings is None else self._path(settings)
            )
        return found

    def workflow(self, name: str | None = None) -> WorkflowEntry:
        """One of the CWL workflows.

        Args:
            name: its key; None: the only one.

        Raises:
            UserError: there is none of this name, or None was given and there is not exactly one.
        """
        found = self.workflows
        if name is None and len(found) == 1:
            return next(iter(found.values()))
        if name in found:
            return found[name]
        there = ", ".join(found) or "none"
        what = f"no CWL workflow {name!r}" if name else f"{len(found)} CWL workflows"
        raise UserError(what, where=self.where("workflows"), fix=f"Name one of those that are there: {there}.")

    def read(
        self,
        name: str | None = None,
        *,
        assumed_duration: float = ASSUMED_DURATION,
        assumed_width: int = ASSUMED_WIDTH,
        all_given: bool = False,
        javascript: bool = True,
        web: bool = False,
    ) -> BoundWorkflow:
        """Read one of the workflows, with inputs and bindings; see `read_workflow`, whose arguments these are.

        Raises:
            UserError: see `workflow` and `read_workflow`.
        """
        entry = self.workflow(name)
        for key, path in (("file", entry.file), ("settings", entry.settings)):
            if path and "://" not in path and not os.path.isfile(path.partition("#")[0]):
                where = self.where("workflows", entry.name, "config", key)
                there = os.path.isdir(path.partition("#")[0])
                what = f"{path} is a directory" if there else f"there is no file {path}"
                raise UnreadableCWL(what, where=where, fix="Relative names start at this file.")
        cwl = read_workflow(
            entry.file,
            entry.settings,
            entry.name,
            assumed_duration=assumed_duration,
            assumed_width=assumed_width,
            all_given=all_given,
            javascript=javascript,
            web=web,
        )
        return self.bind(cwl)

    def bind(self, cwl: CWLWorkflow) -> BoundWorkflow:
        """Give each step of the workflow `cwl.name` the binding that StreamFlow will use.

        Raises:
            UserError: a binding that StreamFlow can't use: a relative path, a deployment that is not there.
        """
        targets, docker = BindingTree(), BindingTree()
        keys = ("workflows", cwl.name)
        entry = self._mapping(self.config, *keys)
        for index, _ in enumerate(self._list(entry, *keys, "bindings")):
            binding = self._mapping(self.config, *keys, "bindings", index)
            if "step" in binding:
                where = self.where(*keys, "bindings", index, "step")
                if not isinstance(binding["step"], str):
                    raise UserError(f"{binding['step']!r} is not text", where=where, fix="Write the step's path.")
                if not binding["step"].startswith("/"):
                    raise UserError(
                        f"{binding['step']!r} is no absolute path", where=where, fix=f"Write /{binding['step']}."
                    )
                targets.put(binding["step"], self._binding(binding, (*keys, "bindings", index)))
        for index, _ in enumerate(self._list(self._mapping(self.config, *keys, "config"), *keys, "config", "docker")):
            translator = self._mapping(self.config, *keys, "config", "docker", index)
            deployment = self._mapping(self.config, *keys, "config", "docker", index, "deployment")
            docker.put(str(translator.get("step", "/")), deployment.get("type"))
        unbound = Binding(targets=(Target(LOCAL),))
        bindings = {name: targets.get(name) or unbound for name in cwl.steps}
        return BoundWorkflow(
            cwl,
            {name: Binding(b.targets, b.filters, b.place, docker.get(name)) for name, b in bindings.items()},
        )

    def _binding(self, binding: Mapping[str, Any], keys: tuple[str | int, ...]) -> Binding:
        target = binding.get("target")
        if isinstance(target, Sequence) and not isinstance(target, str):
            places = [(*keys, "target", i) for i in range(len(target))]
        else:
            places = [(*keys, "target")]
        return Binding(
            targets=tuple(self._target(place) for place in places),
            filters=tuple(binding.get("filters") or ()),
            place=self.where(*keys),
        )

    def _target(self, keys: tuple[str | int, ...]) -> Target:
        target = self._mapping(self.config, *keys)
        for key, kind, said in (("service", str, "text"), ("locations", int, "a whole number")):
            if not isinstance(target.get(key, kind()), kind):
                raise UserError(f"{json.dumps(target[key], default=str)} is not {said}", where=self.where(*keys, key))
        name = target.get("deployment", target.get("model"))
        deployments = self.deployments
        if not isinstance(name, str) or name not in deployments:
            raise UserError(
                f"no deployment {name!r}",
                where=self.where(*keys, "deployment"),
                fix=f"The deployments are: {', '.join(deployments) or 'none'}.",
            )
        return Target(
            deployment=deployments[name],
            service=target.get("service"),
            workdir=target.get("workdir"),
            locations=target.get("locations", target.get("resources", 1)),
            place=self.where(*keys, "service") if "service" in target else self.where(*keys),
        )

    def _path(self, path: str) -> str:
        if "://" in path or os.path.isabs(path):
            return path
        return os.path.join(os.path.dirname(self.path or ""), path)

    def _list(self, node: Mapping[str, Any], *keys: str | int) -> Sequence[Any]:
        """What stands in a mapping under the last of the keys; nothing is an empty list."""
        found = node.get(str(keys[-1])) or []
        if not isinstance(found, Sequence) or isinstance(found, str):
            raise UserError("is no list", where=self.where(*keys), fix="Begin each entry with a `-`.")
        return found

    def _mapping(self, node: Any, *keys: str | int) -> Mapping[str, Any]:
        for key in keys:
            node = node[key] if _has(node, key) else {}
        if not isinstance(node, Mapping):
            where = self.where(*keys) if keys else (self.path or "the StreamFlow file")
            raise UserError("is no mapping", where=where, fix="Write it as `key: value` lines.")
        return node


def _has(node: Any, key: str | int) -> bool:
    if isinstance(key, int):
        return isinstance(node, Sequence) and not isinstance(node, str) and 0 <= key < len(node)
    return isinstance(node, Mapping) and key in node
