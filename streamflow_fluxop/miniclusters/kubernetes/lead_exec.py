"""How an agent starts in the pod of a lead broker, and how we get to it: one exec websocket."""

from __future__ import annotations

from typing import Any

from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.client.errors import AgentGone
from streamflow_fluxop.miniclusters.kubernetes import resource
from streamflow_fluxop.miniclusters.kubernetes.api import Api
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError
from streamflow_fluxop.miniclusters.kubernetes.exec import ExecStream
from streamflow_fluxop.miniclusters.kubernetes.readiness import Attachable

ATTACH = """\
mount=$1 socket=$1/config/run/flux/local
if [ -e "$mount/view/bin/flux" ] || command -v flux >/dev/null; then
  until [ -S "$socket" ]; do sleep 0.2; done
  [ ! -e "$mount/flux-view.sh" ] || . "$mount/flux-view.sh"
  export FLUX_URI="local://$socket"
  exec flux python -u -c "$2"
fi
exec python3 -u -c "$2"
"""
"""Starts the agent in the lead broker's pod: where there is Flux, in the operator's view or in the image itself, under
Flux's own Python when the broker has its socket; else under what Python there is, with the embedded scheduler."""


async def start_agent(api: Api, lead: Attachable, spec: dict[str, Any], *, name: str) -> ExecStream:
    """Start an agent beside the lead broker.

    Args:
        api: with the pod's namespace.
        lead: the lead broker's pod.
        spec: of the MiniCluster.
        name: of the MiniCluster, for the log.

    Raises:
        KubernetesError: it can't be started now.
        AgentGone: it can't be started, and trying again does not help.
    """
    mount = spec.get("flux", {}).get("container", {}).get("mountPath", resource.MOUNT_PATH)
    argv = ["/bin/sh", "-c", ATTACH, "attach", mount, BOOT]
    try:
        return await ExecStream.start(api, lead.pod, lead.container, argv, name=name)
    except KubernetesError as error:
        if error.status == 403:  # the reason must be seen
            raise AgentGone(str(error)) from None
        if error.status != 401:
            raise
    await api.renew()  # a token that has expired
    return await ExecStream.start(api, lead.pod, lead.container, argv, name=name)
