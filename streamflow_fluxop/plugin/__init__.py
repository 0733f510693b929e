"""StreamFlow's extension points: connector, policy and docker translator `minicluster`."""

from __future__ import annotations

import logging

from streamflow.ext.plugin import StreamFlowPlugin
from streamflow.log_handler import logger as streamflow_logger


class FluxopPlugin(StreamFlowPlugin):
    """Registers what is ours with StreamFlow."""

    def register(self) -> None:
        """Called by StreamFlow before it reads its file."""
        from streamflow_fluxop.plugin.connector import MiniClusterConnector
        from streamflow_fluxop.plugin.database import share_between_runs
        from streamflow_fluxop.plugin.docker import MiniClusterDockerTranslator
        from streamflow_fluxop.plugin.hook import check_before_run
        from streamflow_fluxop.plugin.policy import MiniClusterPolicy

        self.register_connector("minicluster", MiniClusterConnector)
        self.register_policy("minicluster", MiniClusterPolicy)
        self.register_cwl_docker_translator("minicluster", MiniClusterDockerTranslator)
        check_before_run()
        share_between_runs()
        _log_like_streamflow()


def _log_like_streamflow() -> None:
    """Our loggers write where StreamFlow's does, as --quiet and --debug say."""
    ours = logging.getLogger("streamflow_fluxop")
    ours.parent = streamflow_logger
    ours.setLevel(streamflow_logger.level)
