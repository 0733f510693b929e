"""What CWL says of a step's container: DockerRequirement, with what NetworkAccess and InplaceUpdateRequirement add."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Image:
    """An image, and where it comes from (CWL 1.2, DockerRequirement).

    Args:
        pull: dockerPull: a name for the engine's registries.
        load: dockerLoad: a file or URL of what `docker save` wrote.
        import_: dockerImport: a file or URL of a root file system, as a tar archive.
        file: dockerFile: the text of a Dockerfile.
        image_id: dockerImageId: the name that it gets, or has where nothing else is said.
    """

    pull: str | None = None
    load: str | None = None
    import_: str | None = None
    file: str | None = None
    image_id: str | None = None

    @property
    def name(self) -> str:
        """What the engine knows it by; made from its source where dockerImageId is not said."""
        if said := self.image_id or self.pull:
            return said
        source = self.file or self.load or self.import_ or ""
        return f"localhost/fluxop-{hashlib.sha256(source.encode()).hexdigest()[:16]}:1"

    @property
    def source(self) -> str:
        """Where it comes from, in words for messages."""
        if self.file is not None:
            return "a dockerFile"
        return self.load or self.import_ or self.pull or self.name


@dataclass(frozen=True)
class Container:
    """The container that a step's jobs run in.

    Args:
        image: of the container.
        output_directory: dockerOutputDirectory: where the job's output directory is in the container.
        network: whether jobs may use the network (NetworkAccess).
        inplace_update: whether jobs may write to their inputs (InplaceUpdateRequirement).
    """

    image: Image
    output_directory: str | None = None
    network: bool = False
    inplace_update: bool = False
