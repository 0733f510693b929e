"""The pod that the Flux Operator makes of a MiniCluster, as far as admission looks at it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamflow_fluxop.miniclusters.kubernetes import quantities

Object = dict[str, Any]

_OWN_VOLUMES = ("flux-operator-home", "flux-view", "spack-software")
_OF_POD = ("hostIPC", "hostPID", "nodeSelector", "runtimeClassName", "schedulerName", "serviceAccountName")


def pod(cluster: Mapping[str, Any], times: int = 1) -> Object:
    """A pod of a MiniCluster, as `controllers/flux/job.go` of the operator (v1alpha2) has it.

    Args:
        cluster: the object, as the API server completes it.
        times: so many times what a pod asks for.
    """
    spec, name = cluster["spec"], cluster["metadata"]["name"]
    said = spec.get("pod", {})
    made: Object = {
        "restartPolicy": said.get("restartPolicy") or "OnFailure",
        "automountServiceAccountToken": said.get("automountServiceAccountToken", False),
        "tolerations": said.get("tolerations", []),
        "imagePullSecrets": [{"name": c["imagePullSecret"]} for c in spec["containers"] if c.get("imagePullSecret")],
        "volumes": _volumes(spec["containers"]),
        "initContainers": [_init_container(spec, times)],
        "containers": [_container(c, name, times) for c in spec["containers"]],
        **{key: said[key] for key in _OF_POD if said.get(key)},
    }
    if "fsGroup" in said.get("securityContext", {}):  # the operator passes nothing else of it on
        made["securityContext"] = {"fsGroup": said["securityContext"]["fsGroup"]}
    metadata = {
        "name": f"{name}-0-try",
        "labels": dict(said.get("labels", {})),
        "annotations": dict(said.get("annotations", {})),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made}


def images(cluster: Mapping[str, Any]) -> set[str]:
    """The images of a MiniCluster's pods, that of the init container, which brings Flux, among them."""
    found = [spec.get("image") for spec in (*cluster["spec"]["containers"], _view(cluster["spec"]))]
    return {image for image in found if image}


def _view(spec: Mapping[str, Any]) -> Object:
    view: Object = spec.get("flux", {}).get("container", {})
    return view


def _init_container(spec: Mapping[str, Any], times: int) -> Object:
    view = _view(spec)
    return _plain(view.get("name") or "flux-view", view, times)


def _container(container: Mapping[str, Any], cluster: str, times: int) -> Object:
    name = cluster if container.get("runFlux") else container.get("name") or "beside"
    mounts = [
        {"name": volume, "mountPath": "/dev/shm" if said.get("emptyDir") else said.get("path", "/")}
        for volume, said in container.get("volumes", {}).items()
    ]
    env = [{"name": key, "value": value} for key, value in container.get("environment", {}).items()]
    return {**_plain(name, container, times), "volumeMounts": mounts, "env": env}


def _plain(name: str, said: Mapping[str, Any], times: int) -> Object:
    resources = {
        kind: {resource: quantities.times(str(amount), times) for resource, amount in amounts.items()}
        if times > 1
        else amounts
        for kind, amounts in said.get("resources", {}).items()
    }
    made = {"name": name, "image": said.get("image") or "any", "resources": resources}
    if said.get("securityContext"):
        made["securityContext"] = said["securityContext"]
    return made


def _volumes(containers: list[Object]) -> list[Object]:
    named = {name: said for c in containers for name, said in c.get("volumes", {}).items()}
    own: list[Object] = [{"name": name, "emptyDir": {}} for name in _OWN_VOLUMES]
    return own + [{"name": name, **_source(said)} for name, said in named.items()]


def _source(said: Mapping[str, Any]) -> Object:
    if said.get("secretName"):
        return {"secret": {"secretName": said["secretName"]}}
    if said.get("emptyDir"):
        return {"emptyDir": {}}
    if said.get("hostPath"):
        return {"hostPath": {"path": said["hostPath"], "type": "Directory"}}
    if said.get("configMapName"):
        return {"configMap": {"name": said["configMapName"]}}
    if said.get("csiDriver"):
        return {"csi": {"driver": said["csiDriver"], "volumeAttributes": said.get("csiDriverAttributes", {})}}
    return {"persistentVolumeClaim": {"claimName": said.get("claimName")}}
