"""What the documents tell to type: the commands of their shell blocks, and the files that their YAML blocks are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "cwl-examples/**/*.md")
    for path in ROOT.glob(pattern)
)
NOT_SHELL = {"yaml", "json", "python", "text"}
"""Languages of fenced blocks that hold no commands; a block without a language does."""


@dataclass(frozen=True)
class Command:
    """A command of a document, and what the document says that it prints (None: nothing is said)."""

    document: str
    section: str
    line: int
    text: str
    prints: str | None = None


@dataclass(frozen=True)
class NamedFile:
    """A YAML block whose first line is a comment with a file's name."""

    section: str
    name: str
    content: str


def commands(document: str, text: str) -> list[Command]:
    """All commands of the shell blocks, in order."""
    found: list[Command] = []
    for section, block in _blocks(text):
        if block.info.strip() not in NOT_SHELL:
            first = (block.map or [0])[0] + 1
            read = _session if block.content.startswith("$ ") else _script
            found += [Command(document, section, first + at, *rest) for at, *rest in read(block.content)]
    return found


def named_files(text: str) -> list[NamedFile]:
    """The files that YAML blocks are."""
    named = [(s, re.match(r"# ([\w./-]+\.(?:ya?ml|cwl))\n", b.content), b) for s, b in _blocks(text)]
    return [NamedFile(section, name[1], block.content) for section, name, block in named if name]


def spans(text: str) -> list[str]:
    """All pieces of code within the text."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [child.content for t in tokens for child in t.children or [] if child.type == "code_inline"]


def _blocks(text: str) -> Iterator[tuple[str, Token]]:
    """Each block of code, with the heading that it is under."""
    section, tokens = "", MarkdownIt("commonmark").parse(text)
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and after is not None:
            section = after.content
        if token.type in ("fence", "code_block"):
            yield section, token


def _script(block: str) -> Iterator[tuple[int, str]]:
    """Commands of a block in which all lines are typed; here-documents and continued lines are one command."""
    pending: list[str] = []
    for number, line in enumerate(block.splitlines()):
        if line.strip() or pending:
            pending.append(line)
        if pending and _complete("\n".join(pending)):
            yield number + 1 - len(pending), re.sub(r"\s+# .*$", "", "\n".join(pending))
            pending = []
    assert not pending, f"no whole command: {pending}"


def _session(block: str) -> Iterator[tuple[int, str, str]]:
    """Commands (after `$ `) of a block that has their output, too."""
    for part in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", block, re.MULTILINE):
        yield block[: part.start()].count("\n"), part[1], part[2].rstrip()


def _complete(text: str) -> bool:
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True)
    return not text.endswith("\\") and done.returncode == 0 and "here-document" not in done.stderr
