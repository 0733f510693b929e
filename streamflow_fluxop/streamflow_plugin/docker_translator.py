"""The docker translator `minicluster`: the image of a step is its MiniCluster's, never a container in it."""

from __future__ import annotations

from streamflow.core.deployment import Target
from streamflow.cwl.requirement.docker.docker import DockerCWLDockerTranslator
from streamflow.cwl.requirement.docker.translator import CWLDockerTranslator

from streamflow_fluxop.streamflow_plugin.policy import empty_schema


class MiniClusterDockerTranslator(CWLDockerTranslator):
    """Leaves steps on a fleet as they are; for steps that are bound elsewhere it does what StreamFlow does."""

    @classmethod
    def get_schema(cls) -> str:
        """The schema of an empty configuration."""
        return empty_schema("docker")

    def get_target(self, image: str, output_directory: str | None, network_access: bool, target: Target) -> Target:
        """The target itself if it is a fleet, which took the image into account when it was planned."""
        if target.deployment.type == "minicluster":
            return target
        default = DockerCWLDockerTranslator(config_dir=self.config_dir, wrapper=self.wrapper)
        return default.get_target(image, output_directory, network_access, target)
