"""What README and docs tell to type does what they say: each command is run, or is listed here with the reason why not.

It runs as it would for who installed the package: from its wheel, in another environment than the one of the tests,
in a copy of the repository.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
import typer
from doc_commands import DOCUMENTS, ROOT, Command, commands, named_files, spans

from streamflow_fluxop.cli import app

NOT_RUN = {
    r"make example": "tests/examples runs the examples",
    r"make test": "this is it",
    r"(python3 -m venv|uv venv|source|pip install|uv pip install) .*": "the wheel is installed here offline",
    r"(kind|minikube|gcloud|kubectl) .*": "needs Kubernetes",
    r"fluxop manifests rbac .*\| kubectl .*": "needs Kubernetes; what it pipes there is in tests/miniclusters",
    r"fluxop (flavours|doctor|clean)\b.*": "needs Kubernetes: tests/kubernetes",
    r"streamflow run kubernetes.yml": "needs Kubernetes: tests/kubernetes",
}
"""Commands (regular expressions for all of one) that are not run here, and why. What is not here is run."""

TWO_SAMPLES = "cwl-examples/two-samples"
STARTS = {
    ("README.md", "A first workflow"): "../hello",
    ("README.md", "Seeing a run"): TWO_SAMPLES,
    ("docs/planner.md", "The plan"): TWO_SAMPLES,
    ("docs/planner.md", "When there is no plan"): TWO_SAMPLES,
    ("docs/resume.md", "Going on with a run"): TWO_SAMPLES,
    ("docs/runs.md", "Seeing a run"): TWO_SAMPLES,
    ("docs/workflow-document.md", None): "../documents",
}
"""Where the commands of a section begin, from the copy of the repository; else there. None: all sections."""


def start(document: str, section: str) -> str:
    return STARTS.get((document, section), STARTS.get((document, None), "."))


def all_commands(document: str) -> list[Command]:
    return commands(document, (ROOT / document).read_text())


def why_not_run(text: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, text, re.DOTALL)), None)


RUN = [d for d in DOCUMENTS if any(why_not_run(c.text) is None for c in all_commands(d))]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of the programs of an environment that has the wheel, and the packages that it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_of_the_repository(folder / "source")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=source,
        check=True,
        capture_output=True,
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, capture_output=True)
    bin, site = folder / "venv/bin", next((folder / "venv/lib").glob("python*/site-packages"))
    (wheel,) = folder.glob("*.whl")
    uv = [Path(sys.executable).parent / "uv", "pip", "install", "--offline", "--no-deps", "--quiet", "--no-config"]
    subprocess.run([*uv, "--python", bin / "python", wheel], check=True, capture_output=True)
    # a path in a .pth file brings packages, but not what editable installs have in .pth files of their own
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    streamflow = (Path(sys.executable).parent / "streamflow").read_text()
    (bin / "streamflow").write_text(f"#!{bin / 'python'}\n" + streamflow.partition("\n")[2])
    (bin / "streamflow").chmod(0o755)
    return bin


def copy_of_the_repository(folder: Path) -> Path:
    left_out = shutil.ignore_patterns(".*", "__pycache__", "results", "dist", "tests", "bench")
    return Path(shutil.copytree(ROOT, folder, ignore=left_out, symlinks=True))


@pytest.mark.parametrize("document", RUN)
def test_each_command_runs(document, installed, tmp_path):
    copy = copy_of_the_repository(tmp_path / "copy")
    for file in named_files((ROOT / document).read_text()):
        target = copy / start(document, file.section) / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.content)
    folders: dict[str, Path] = {}
    environment = {
        "PATH": f"{installed}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "FLUXOP_RUNS": str(tmp_path / "runs"),
        "LANG": "C.UTF-8",
    }
    for command in all_commands(document):
        if why_not_run(command.text) is None:
            folder = folders.get(command.section, copy / start(document, command.section))
            folders[command.section] = type_in(command, folder, environment)


def type_in(command: Command, folder: Path, environment: dict[str, str]) -> Path:
    """Run it, and look at what comes of it; the folder that the shell is in afterwards."""
    where = f"{command.document}:{command.line}: {command.text}"
    script = f"{command.text}\ncode=$?; pwd >&9; exit $code"
    afterwards = Path(environment["HOME"], "folder")
    with afterwards.open("w") as file:
        done = subprocess.run(
            ["bash", "-c", f"exec 9>&{file.fileno()}\n{script}"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            pass_fds=[file.fileno()],
        )
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed, f"{where}\n{printed}"
    if command.prints is None:
        assert done.returncode == 0, f"{where}\n{printed[-3000:]}"
    else:
        assert printed.startswith(command.prints), f"{where}\nis said to print\n{command.prints}\nand prints\n{printed}"
    return Path(afterwards.read_text().strip())


def test_every_reason_is_still_needed():
    typed = [c.text for d in DOCUMENTS for c in all_commands(d)]
    assert not [p for p in NOT_RUN if not any(re.fullmatch(p, text, re.DOTALL) for text in typed)]
    sections = {(d, s) for d in DOCUMENTS for c in all_commands(d) for s in (c.section, None)}
    assert not STARTS.keys() - sections


def test_commands_in_the_text_are_commands_that_there_are():
    """Options, too, and of commands that need a cluster: these are only parsed."""
    cli = typer.main.get_command(app)
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        for typed in [*spans(text), *(c.text for c in all_commands(document))]:
            for words in re.findall(r"\bfluxop ([a-z][^|&;…\n]*)", typed):
                check_words(cli, document, shlex.split(words, comments=True))


def check_words(cli, document: str, words: list[str]) -> None:
    command, at = cli, f"{document}: fluxop {' '.join(words)}"
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, at
        command, words = command.commands[words[0]], words[1:]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    options = [w.partition("=")[0] for w in words if w.startswith("-")]
    if not (command.ignore_unknown_options or command.context_settings.get("ignore_unknown_options")):
        assert not set(options) - known, at


def test_modules_targets_and_extras_in_the_text_are_there():
    known = set(metadata("streamflow-fluxop").get_all("Provides-Extra") or [])
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        for typed in spans((ROOT / document).read_text()):
            if module := re.match(r"python -m (bench[\w.]*)", typed):
                path = ROOT / module[1].replace(".", "/")
                assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), (document, typed)
            if target := re.match(r"make (\w+)$", typed):
                assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), (document, typed)
            if extras := re.search(r"pip install '[^\[]*\[([\w,]+)\]'", typed):
                assert not set(extras[1].split(",")) - known, (document, typed)


def test_documents_link_to_what_there_is():
    for document in DOCUMENTS:
        for target in re.findall(r"(?<!`)\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / document).read_text()):
            if not re.match(r"[a-z]+:|\[", target):
                assert ((ROOT / document).parent / target).exists(), (document, target)
