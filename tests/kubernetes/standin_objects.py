"""For tests only: the objects that the stand-in operator makes for a MiniCluster, as the Flux Operator (v1alpha2) does.

Names, labels, owners and mounts are the Flux Operator's; the scripts start no Flux. The lead pod's one stays until it
gets SIGUSR1, which stands for `flux shutdown`, or until the agent's watchdog, which would shut Flux down, has come and
gone; as the real one it ignores SIGTERM, so that a MiniCluster which nobody
shuts down takes its whole grace period to go.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

GROUP, VERSION, PLURAL = "flux-framework.org", "v1alpha2", "miniclusters"
CONDITIONS = ("JobRequested", "JobWaitingForResources", "JobRunning", "JobMiniClusterReady", "JobFinished")

_INIT = """#!/bin/sh
mkdir -p {mount}/view {mount}/software {mount}/config/run/flux {mount}/config/etc/flux/system
echo '{name}-[0-{last}]' >{mount}/config/etc/flux/system/hostlist
touch {mount}/flux-operator-done.txt
"""

_LEAD = """#!/bin/bash
{init}
{pre}
if [ "$(hostname)" = "{name}-0" ]; then
  {broker_pre}
  {run}
else
  {worker_pre}
  trap 'exit 0' TERM
  while :; do sleep 5 & wait $!; done
fi
{post}
"""

_INTERACTIVE = """trap 'exit 0' USR1
  watched() { ls /tmp/fluxop-*/*/watchdog >/dev/null 2>&1; }
  until watched; do sleep 1 & wait $!; done
  while watched; do sleep 1 & wait $!; done"""


def invalid(spec: Object) -> str | None:
    """Why the operator ignores a MiniCluster of this specification; None: it does not."""
    size, most, least = spec["size"], spec.get("maxSize", 0), spec.get("minSize", 0)
    if size == 0:
        return "it has no nodes"
    if most and most < size:
        return "maxSize is smaller than size"
    if least > size or (most and least > most):
        return "minSize is larger than size or maxSize"
    if sum(bool(c.get("runFlux")) for c in spec["containers"]) > 1:
        return "more than one container runs Flux"
    return None


def max_size(spec: Object) -> int:
    return max(spec["size"], spec.get("maxSize", 0))


def config_map(cluster: Object) -> Object:
    spec, name = cluster["spec"], _name(cluster)
    data = {_view(spec): _INIT.format(mount=_mount(spec), name=name, last=max_size(spec) - 1), "curve.cert": "none\n"}
    for i, container in enumerate(spec["containers"]):
        commands = container.get("commands", {})
        data[f"wait-{i}"] = _LEAD.format(
            name=name,
            init=commands.get("init", ":"),
            pre=commands.get("pre", ":"),
            broker_pre=commands.get("brokerPre", ":"),
            worker_pre=commands.get("workerPre", ":"),
            post=commands.get("post", ":"),
            run=container.get("command") or _INTERACTIVE,
        )
    return {"metadata": _metadata(cluster, f"{name}-entrypoint"), "data": data}


def service(cluster: Object) -> Object:
    selector = {"job-name": _name(cluster)}
    return {"metadata": _metadata(cluster, headless_name(cluster)), "spec": {"clusterIP": "None", "selector": selector}}


def headless_name(cluster: Object) -> str:
    return str(cluster["spec"].get("network", {}).get("headlessName") or _name(cluster))


def job(cluster: Object) -> Object:
    spec, name, pod = cluster["spec"], _name(cluster), cluster["spec"].get("pod", {})
    mounts = [
        {"name": "flux-operator-home", "mountPath": "/home/flux-operator"},
        {"name": _view(spec), "mountPath": _mount(spec)},
        {"name": f"{name}-entrypoint", "mountPath": "/flux_operator/", "readOnly": True},
    ]
    secrets = [{"name": c["imagePullSecret"]} for c in spec["containers"] if c.get("imagePullSecret")]
    template: Object = {
        "metadata": {"name": name, "labels": _pod_labels(cluster), "annotations": pod.get("annotations", {})},
        "spec": {
            "subdomain": headless_name(cluster),
            "shareProcessNamespace": spec.get("shareProcessNamespace", False),
            "setHostnameAsFQDN": False,
            "restartPolicy": pod.get("restartPolicy", "OnFailure"),
            "imagePullSecrets": secrets,
            "automountServiceAccountToken": pod.get("automountServiceAccountToken", False),
            "tolerations": pod.get("tolerations", []),
            "volumes": _volumes(cluster),
            "initContainers": [_init_container(spec, mounts)],
            "containers": _containers(cluster, [*mounts, {"name": "spack-software", "mountPath": "/opt/software"}]),
        },
    }
    for key in ("nodeSelector", "serviceAccountName", "schedulerName", "dnsPolicy", "runtimeClassName"):
        if pod.get(key):
            template["spec"][key] = pod[key]
    if "securityContext" in pod:
        # the operator passes nothing else of it on
        template["spec"]["securityContext"] = {"fsGroup": pod["securityContext"].get("fsGroup")}
    if not spec.get("network", {}).get("disableAffinity"):
        template["spec"]["affinity"] = _affinity(name, pod.get("nodeAffinity", {}))
    return {
        "metadata": {**_metadata(cluster, name), "labels": spec.get("jobLabels", {})},
        "spec": {
            "backoffLimit": spec.get("backoffLimit") or 100,
            "completions": spec["size"],
            "parallelism": spec["size"],
            "completionMode": "Indexed",
            "activeDeadlineSeconds": spec["deadlineSeconds"],
            "template": template,
        },
    }


def _name(cluster: Object) -> str:
    return str(cluster["metadata"]["name"])


def _mount(spec: Object) -> str:
    return str(spec.get("flux", {}).get("container", {}).get("mountPath", "/mnt/flux"))


def _view(spec: Object) -> str:
    return str(spec.get("flux", {}).get("container", {}).get("name", "flux-view"))


def _metadata(cluster: Object, name: str) -> Object:
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "MiniCluster",
        "name": _name(cluster),
        "uid": cluster["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"name": name, "ownerReferences": [owner]}


def _pod_labels(cluster: Object) -> Object:
    name = _name(cluster)
    return {
        **cluster["spec"].get("pod", {}).get("labels", {}),
        "namespace": cluster["metadata"]["namespace"],
        "app": "flux-operator",
        "app.kubernetes.io/name": name,
        "hpa-selector": name,
    }


def _init_container(spec: Object, mounts: list[Object]) -> Object:
    container = spec.get("flux", {}).get("container", {})
    return {
        "name": _view(spec),
        "image": container.get("image"),
        "imagePullPolicy": "Always" if container.get("pullAlways") else "IfNotPresent",
        "command": ["/bin/bash", "/flux_operator/flux-init.sh"],
        "resources": container.get("resources", {}),
        "securityContext": container.get("securityContext", {}),
        "volumeMounts": mounts,
        "stdin": True,
        "tty": True,
    }


def _containers(cluster: Object, mounts: list[Object]) -> list[Object]:
    made = []
    mounts, seen = list(mounts), set()
    for i, container in enumerate(cluster["spec"]["containers"]):
        for name, volume in container.get("volumes", {}).items():
            path = "/dev/shm" if volume.get("emptyDir") else volume.get("path")
            if name not in seen:
                mounts.append({"name": name, "mountPath": path, "readOnly": volume.get("readOnly", False)})
            seen.add(name)
        plain = {
            "name": _name(cluster) if container.get("runFlux") else container.get("name"),
            "image": container["image"],
            "imagePullPolicy": "Always"
            if container.get("pullAlways")
            else container.get("imagePullPolicy") or "IfNotPresent",
            "workingDir": container.get("workingDir"),
            "resources": container.get("resources", {}),
            "securityContext": container.get("securityContext", {}),
            "env": [
                *({"name": k, "value": v} for k, v in container.get("environment", {}).items()),
                *({"name": k, "valueFrom": {"secretKeyRef": s}} for k, s in container.get("secrets", {}).items()),
            ],
            "volumeMounts": list(mounts),
            "stdin": True,
            "tty": True,
        }
        if container.get("runFlux"):
            plain["command"] = ["/bin/bash", f"/flux_operator/wait-{i}.sh"]
        made.append(plain)
    return made


def _volumes(cluster: Object) -> list[Object]:
    spec, name = cluster["spec"], _name(cluster)
    items = [
        {"key": f"wait-{i}", "path": f"wait-{i}.sh", "mode": 0o777}
        for i, c in enumerate(spec["containers"])
        if c.get("runFlux")
    ]
    items += [{"key": _view(spec), "path": "flux-init.sh", "mode": 0o777}, {"key": "curve.cert", "path": "curve.cert"}]
    volumes: list[Object] = [
        {"name": "spack-software", "emptyDir": {}},
        {"name": "flux-operator-home", "emptyDir": {}},
        {"name": _view(spec), "emptyDir": {}},
        {"name": f"{name}-entrypoint", "configMap": {"name": f"{name}-entrypoint", "items": items}},
    ]
    named = {n: v for c in spec["containers"] for n, v in c.get("volumes", {}).items()}
    return volumes + [_volume(n, v) for n, v in named.items()]


def _volume(name: str, volume: Object) -> Object:
    if volume.get("secretName"):
        return {"name": name, "secret": {"secretName": volume["secretName"]}}
    if volume.get("emptyDir"):
        medium = "Memory" if volume.get("emptyDirMedium") == "memory" else ""
        return {"name": name, "emptyDir": {"medium": medium, "sizeLimit": volume.get("emptyDirSizeLimit")}}
    if volume.get("hostPath"):
        return {"name": name, "hostPath": {"path": volume["hostPath"], "type": "Directory"}}
    if volume.get("configMapName"):
        items = [{"key": k, "path": p} for k, p in volume.get("items", {}).items()]
        # the volume is named as its config map, so that a mount of another name finds none
        return {
            "name": volume["configMapName"],
            "configMap": {"name": volume["configMapName"], "items": items},
        }
    return {"name": name, "persistentVolumeClaim": {"claimName": volume.get("claimName")}}


def _affinity(name: str, node_affinity: Object) -> Object:
    def near(topology: str) -> list[Object]:
        expression = {"key": "app.kubernetes.io/name", "operator": "In", "values": [name]}
        term = {"labelSelector": {"matchExpressions": [expression]}, "topologyKey": topology}
        return [{"weight": 100, "podAffinityTerm": term}]

    affinity: Object = {
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": near("topology.kubernetes.io/zone")},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": near("kubernetes.io/hostname")},
    }
    if node_affinity:
        expressions = [{"key": k, "operator": "In", "values": v} for k, v in node_affinity.items()]
        terms = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
        affinity["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return affinity
