"""StreamFlow's extension points: connector, policy and docker translator `minicluster`."""

from __future__ import annotations

from streamflow.ext.plugin import StreamFlowPlugin


class FluxopPlugin(StreamFlowPlugin):
    """Registers what is ours with StreamFlow."""

    def register(self) -> None:
        """Called by StreamFlow before it reads its file."""
        from streamflow_fluxop.streamflow_plugin.connector import MiniClusterConnector
        from streamflow_fluxop.streamflow_plugin.docker_translator import MiniClusterDockerTranslator
        from streamflow_fluxop.streamflow_plugin.internals.database import share_between_runs
        from streamflow_fluxop.streamflow_plugin.internals.hook import check_before_run, log_like_streamflow
        from streamflow_fluxop.streamflow_plugin.internals.local_folders import work_in_own_folders
        from streamflow_fluxop.streamflow_plugin.policy import MiniClusterPolicy

        self.register_connector("minicluster", MiniClusterConnector)
        self.register_policy("minicluster", MiniClusterPolicy)
        self.register_cwl_docker_translator("minicluster", MiniClusterDockerTranslator)
        check_before_run()
        share_between_runs()
        work_in_own_folders()
        log_like_streamflow()
