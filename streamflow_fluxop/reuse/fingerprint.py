"""When two jobs do the same: a digest of all that a job's result can depend on.

Directories that StreamFlow makes anew in each run are written by their role, so that they don't count; all other text
counts to the letter. Files count by content: whoever describes a job gives their checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
"""Of what a fingerprint covers: another one never equals an older one."""

_RANDOM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""StreamFlow's random names: `uuid.uuid4()`."""
_GOES_ON = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
"""Where one of these follows, a directory's name is the beginning of another name."""
_DERIVED = ("location", "dirname", "nameroot", "nameext", "path", "secondaryFiles", "listing")

Parts = list[Any]
"""Text in which directories are written by role: strings, and lists of one string for a role."""


class Folders:
    """The directories of a job that have other names in each run.

    Args:
        paths: by role, such as `out`; where one lies in another, the inner one counts.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = dict(paths)
        roles: dict[str, str] = {}
        for role, path in self.paths.items():
            if path and path != "/":
                roles.setdefault(path.rstrip("/"), role)
        self._roles = roles
        self._lengths = sorted({len(path) for path in roles}, reverse=True)
        self._prefix = os.path.commonprefix(list(roles))  # noqa: RUF071 - text is searched for it

    def parts(self, text: str) -> Parts:
        """The text with its directories by role."""
        found: Parts = []
        done = at = 0
        while self._prefix and (at := text.find(self._prefix, at)) >= 0:
            for length in self._lengths:
                end = at + length
                role = self._roles.get(text[at:end])
                if role is not None and text[end : end + 1] not in _GOES_ON:
                    found += [text[done:at], [role]]
                    done = at = end
                    break
            else:
                at += 1
        return [*found, text[done:]]

    def text(self, parts: Parts) -> str | None:
        """The text that `parts` are, with these directories; None: it names one that is not here."""
        try:
            return "".join(part if isinstance(part, str) else self.paths[part[0]] for part in parts)
        except KeyError:
            return None

    def written(self, value: Any) -> Any:
        """A JSON value with the directories in all its texts by role."""
        if isinstance(value, str):
            return self.parts(value)
        if isinstance(value, Mapping):
            return {"{": [[self.parts(key), self.written(v)] for key, v in sorted(value.items())]}
        if isinstance(value, (list, tuple)):
            return {"[": [self.written(v) for v in value]}
        return value


@dataclass(frozen=True)
class JobDescription:
    """All that a job's result depends on.

    Attributes:
        argv: its command.
        environment: its own variables.
        stdin: path that it reads.
        stdout: path that takes what it writes; None: nobody's.
        stderr: likewise.
        image: of its container; None: none.
        needs: what it asks for that its result can depend on, such as tasks and cores.
        success_codes: exit codes that are no failure.
        inputs: by name, as CWL's values; files and directories with a checksum of their content.
        staged: what lies in its working directory before it starts: path, kind, and content or target.
        outside: files that it names and that are no inputs: path, and what tells one version of them from another.
        given: variables and the like that are not its own and that it sees.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    image: str | None = None
    needs: Mapping[str, Any] = field(default_factory=dict)
    success_codes: Sequence[int] = (0,)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    staged: Sequence[Sequence[Any]] = ()
    outside: Sequence[Sequence[Any]] = ()
    given: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(job: JobDescription, folders: Folders) -> str:
    """The digest (SHA-256, in hex) of a job; equal for jobs that do the same, whatever their directories are called."""
    about = {name: getattr(job, name) for name in job.__dataclass_fields__}
    about["success_codes"] = sorted(job.success_codes)
    text = json.dumps([VERSION, folders.written(about)], separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def input_folders(inputs: Mapping[str, Any], input_directory: str) -> dict[str, str]:
    """The random directories below a job's input directory in which its files lie, by role.

    StreamFlow puts each file into one of its own, of a random name; they are numbered as the inputs, by name, have
    them.
    """
    found: dict[str, str] = {}
    root = input_directory.rstrip("/") + "/"
    for path in paths(inputs):
        if not path.startswith(root):
            continue
        first = path[len(root) :].split("/", 1)[0]
        folder = root + first
        if _RANDOM.fullmatch(first) and folder not in found:
            found[folder] = f"in{len(found)}"
    return {role: folder for folder, role in found.items()}


def paths(value: Any) -> Iterator[str]:
    """The paths of all files and directories in CWL values, in an order that depends on the values alone."""
    if isinstance(value, Mapping):
        if value.get("class") in ("File", "Directory"):
            if isinstance(path := value.get("path"), str):
                yield path
            for key in ("secondaryFiles", "listing"):
                yield from paths(value.get(key) or [])
        else:
            for _, part in sorted(value.items()):
                yield from paths(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from paths(part)


def described(value: Any, contents: Mapping[str, Any]) -> Any:
    """A CWL value as `JobDescription.inputs` wants it.

    Args:
        value: plain JSON, files and directories as CWL has them.
        contents: by path, what identifies the content of files and directories that tell no checksum themselves.

    Raises:
        KeyError: there is one of which nobody knows the content.
    """
    if isinstance(value, Mapping):
        if value.get("class") not in ("File", "Directory"):
            return {key: described(part, contents) for key, part in value.items()}
        about = {key: part for key, part in sorted(value.items()) if key not in _DERIVED}
        about["path"] = value.get("path")
        if needs_content(value):
            about["content"] = contents[value["path"]]
        for key in ("secondaryFiles", "listing"):
            if value.get(key) is not None:
                about[key] = described(value[key], contents)
        return about
    if isinstance(value, (list, tuple)):
        return [described(part, contents) for part in value]
    return value


def needs_content(value: Mapping[str, Any]) -> bool:
    """Whether a CWL file or directory does not tell its content by itself."""
    return value["class"] == "Directory" or not value.get("checksum")


def without_content(value: Any) -> Iterator[str]:
    """The paths in a CWL value for which `described` needs `contents`."""
    if isinstance(value, Mapping):
        if value.get("class") in ("File", "Directory"):
            if needs_content(value):
                yield value.get("path") or ""
            for key in ("secondaryFiles", "listing"):
                yield from without_content(value.get(key) or [])
        else:
            for part in value.values():
                yield from without_content(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from without_content(part)
