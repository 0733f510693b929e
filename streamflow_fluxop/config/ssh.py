"""Where a fleet is behind SSH: how to reach the host, and what runs the jobs there."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, StringConstraints

from streamflow_fluxop.model import Document

Text = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]
Host = Annotated[str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9_.:%\[][A-Za-z0-9_.:%\[\]-]*$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class JumpHost(Document):
    """A host that the connection goes through."""

    host: Host = Field(description="Its name or address.")
    port: Port = Field(22, description="Its port.")
    user: Text | None = Field(None, description="The user there; absent: the one of this machine.")


class SSHConfig(Document):
    """A host that MiniClusters run on, such as a cluster's login node."""

    host: Host = Field(description="Its name or address; one host, as streams that break have to come back to it.")
    port: Port = Field(22, description="Its port.")
    user: Text | None = Field(None, description="The user there; absent: the one of this machine.")
    keys: list[Text] = Field([], description="Private key files; absent: ssh-agent's, and those in ~/.ssh.")
    known_hosts: Text | None = Field(
        None, description="File of the hosts that are trusted; absent: ~/.ssh/known_hosts. Others are refused."
    )
    jump: JumpHost | None = Field(None, description="A host to go through.")
    python: Text = Field("python3", description="Python 3.8 or later there, for the embedded scheduler.")
    flux: Text = Field("flux", description="Flux's command there.")
    launcher: list[Text] = Field(
        [],
        description="Command that starts a MiniCluster's brokers, such as [srun, -N, '{size}', --mpi=pmi2]; "
        "absent: all of them on the host itself.",
    )
    orphan_timeout: NonNegativeFloat = Field(
        600.0, description="Seconds without a sign of life from here until a MiniCluster ends itself; 0: never."
    )
    reconnect_timeout: NonNegativeFloat = Field(
        300.0, description="Seconds without a connection until a MiniCluster counts as lost."
    )
