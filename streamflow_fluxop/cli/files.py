"""What `fluxop plan` writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError

if TYPE_CHECKING:
    from streamflow_fluxop.model import Plan
    from streamflow_fluxop.readers import Source

KINDS = (".json", ".svg", ".png", ".html")


def check_outputs(paths: Sequence[Path]) -> None:
    """Check what can be checked before the work is done.

    Raises:
        UserError: an ending that we can't write, or a folder that is not there.
    """
    for path in paths:
        if path.suffix.lower() not in KINDS:
            raise UserError(f"the ending {path.suffix or 'is missing'!s}", where=f"-o {path}", fix=_ENDINGS)
        if not path.resolve().parent.is_dir():
            raise UserError(f"there is no folder {path.parent}", where=f"-o {path}", fix="Make it first.")


_ENDINGS = f"The endings are {', '.join(KINDS)}."


def write(
    plan: Plan, source: Source, outputs: Sequence[Path], manifests: Path | None, *, suffix: str = ""
) -> Iterator[Path]:
    """Write the plan's document, pictures and manifests; yields each path.

    Args:
        plan: what to write.
        source: what it is for.
        outputs: paths, each with one of the endings of `KINDS`.
        manifests: folder, made where it is not there; None: no manifests.
        suffix: to tell several plans of one command apart.

    Raises:
        UserError: a file can't be written, or matplotlib is missing.
    """
    for output in outputs:
        path = output.with_name(output.stem + suffix + output.suffix)
        try:
            _write(plan, source, path)
        except OSError as error:
            raise UserError(f"can't be written: {error.strerror}", where=str(path)) from None
        yield path


def _write(plan: Plan, source: Source, path: Path) -> None:
    match path.suffix.lower():
        case ".json":
            path.write_text(plan.model_dump_json(indent=2) + "\n", encoding="utf-8")
