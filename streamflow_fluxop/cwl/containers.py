"""DockerRequirement, with what NetworkAccess and InplaceUpdateRequirement say, as the container of a step's jobs."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from streamflow_fluxop.containers import Container, Image
from streamflow_fluxop.cwl.requirements import Requirements

FIELDS = ("dockerPull", "dockerImageId", "dockerLoad", "dockerImport", "dockerFile")


def container_of(requirements: Requirements) -> Container | None:
    """The container that a step asks for; None: it asks for none.

    A network that an expression gives is there: only the run tells, and a job without it would fail.

    Args:
        requirements: as they hold for the tool that the step runs.
    """
    said = requirements.get("DockerRequirement")
    if said is None:
        return None
    pull, image_id, load, imported, text = (getattr(said.value, name, None) for name in FIELDS)
    options = getattr(said.value, "loadingOptions", None)
    base = str(getattr(options, "fileuri", None) or "")
    image = Image(
        pull=pull,
        load=_resolved(load, base),
        import_=_resolved(imported, base),
        file=text,
        image_id=image_id,
    )
    if not any((pull, image_id, load, imported, text)):
        return None
    return Container(
        image,
        output_directory=getattr(said.value, "dockerOutputDirectory", None),
        network=_network(requirements),
        inplace_update=_says(requirements, "InplaceUpdateRequirement", "inplaceUpdate") is True,
    )


def _network(requirements: Requirements) -> bool:
    """CWL v1.0 knows no NetworkAccess: there is a network (as cwltool's `update.py` has it)."""
    if requirements.get("NetworkAccess") is None:
        return requirements.version == "v1.0"
    return bool(_says(requirements, "NetworkAccess", "networkAccess"))


def _says(requirements: Requirements, kind: str, field: str) -> Any:
    said = requirements.get(kind)
    return None if said is None else getattr(said.value, field, None)


def _resolved(source: str | None, base: str) -> str | None:
    """A path counts from its document, as a URL does."""
    if source is None:
        return None
    parts = urlsplit(urljoin(base, source))
    return source if parts.scheme not in ("file", "") else os.path.abspath(unquote(parts.path))
