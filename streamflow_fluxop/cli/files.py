"""What `fluxop plan` writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import to_json

if TYPE_CHECKING:
    from streamflow_fluxop.config.kubernetes import KubernetesConfig
    from streamflow_fluxop.model import Alternative, Plan
    from streamflow_fluxop.report.tables import NoPlan
    from streamflow_fluxop.sources import Source

KINDS = (".json", ".svg", ".png", ".html")
READABLE = 10_000
"""Steps up to which a plan's document has lines, for people to read."""


def check_outputs(paths: Sequence[Path]) -> None:
    """Check what can be checked before the work is done.

    Raises:
        UserError: an ending that we can't write, a folder that is not there, or a picture without matplotlib.
    """
    for path in paths:
        if path.suffix.lower() not in KINDS:
            what = f"we can't write {path.suffix}" if path.suffix else "no ending tells what to write"
            raise UserError(what, where=f"-o {path}", fix=_ENDINGS)
        if path.suffix.lower() != ".json":
            from streamflow_fluxop.report.figure import need_matplotlib

            need_matplotlib()
        if not path.resolve().parent.is_dir():
            raise UserError(f"there is no folder {path.parent}", where=f"-o {path}", fix="Make it first.")


_ENDINGS = f"The endings are {', '.join(KINDS)}."


def write(
    plan: Plan,
    source: Source,
    rows: Sequence[Alternative | NoPlan],
    outputs: Sequence[Path],
    manifests: Path | None,
    *,
    suffix: str = "",
) -> Iterator[Path]:
    """Write the plan's document, pictures and manifests; yields each path.

    Args:
        plan: what to write.
        source: what it is for.
        rows: what this plan and other strategies come to.
        outputs: paths, each with one of the endings of `KINDS`.
        manifests: folder, made where it is not there; None: no manifests.
        suffix: to tell several plans of one command apart.

    Raises:
        UserError: a file can't be written, or matplotlib is missing.
    """
    for output in outputs:
        path = output.with_name(output.stem + suffix + output.suffix)
        try:
            _write(plan, source.title, rows, path)
        except OSError as error:
            raise UserError(f"can't be written: {error.strerror}", where=str(path)) from None
        yield path
    if manifests is not None:
        yield from _write_manifests(plan, source.kubernetes, manifests)


def file_name(text: str) -> str:
    """A name from a document as a file's, which leaves no folder: itself where it can be, else with a hash."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".-")[:100]
    if plain == text:
        return plain
    return f"{plain}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}".lstrip("-")


def _write_manifests(plan: Plan, config: KubernetesConfig | None, folder: Path) -> Iterator[Path]:
    """A file a MiniCluster."""
    from ruamel.yaml import YAML

    from streamflow_fluxop.miniclusters.kubernetes.manifests import manifests

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 1000
    yaml.representer.ignore_aliases = lambda data: True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, manifest in manifests(plan, config):
            path = folder / f"{file_name(name)}.yaml"
            with path.open("w", encoding="utf-8") as file:
                yaml.dump(manifest, file)
            yield path
    except OSError as error:
        raise UserError(f"can't be written: {error.strerror}", where=str(folder)) from None


def _write(plan: Plan, title: str, rows: Sequence[Alternative | NoPlan], path: Path) -> None:
    from streamflow_fluxop.report import figure
    from streamflow_fluxop.report.chart import chart
    from streamflow_fluxop.report.page import page

    match path.suffix.lower():
        case ".json":
            if len(plan.problem.workflow.steps) > READABLE:
                path.write_bytes(to_json(plan))
            else:
                path.write_text(plan.model_dump_json(indent=2) + "\n", encoding="utf-8")
        case ".svg":
            path.write_text(figure.svg([chart(plan)], title), encoding="utf-8")
        case ".png":
            path.write_bytes(figure.png([chart(plan)], title))
        case ".html":
            path.write_text(page(plan, title, rows), encoding="utf-8")
