"""The MiniCluster object (flux-framework.org/v1alpha2) of a flavour, a size and the configuration. No I/O.

Both what `streamflow run` creates and what `fluxop plan --manifests` writes is made here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from streamflow_fluxop.config.kubernetes import KubernetesConfig, Volume
from streamflow_fluxop.model import Flavour

API_GROUP = "flux-framework.org"
VERSION = "v1alpha2"
PLURAL = "miniclusters"
API_VERSION = f"{API_GROUP}/{VERSION}"

OURS = "streamflow-fluxop/"
"""Prefix of our labels and annotations."""

RUN = OURS + "run"
DEPLOYMENT = OURS + "deployment"
WORKFLOW = OURS + "workflow"
OWNER = OURS + "owner"
GROUP = OURS + "group"
FLAVOUR = OURS + "flavour"
MINICLUSTER = OURS + "minicluster"
"""Label of pods: the name of the MiniCluster's object."""

MANAGED_BY = {"app.kubernetes.io/managed-by": "streamflow-fluxop"}

MOUNT_PATH = "/mnt/flux"
"""Where the operator puts Flux's view and configuration, unless a template says otherwise."""

LONGEST = 40
"""Letters of an object's name: pods' host names are it and `-INDEX`, their names have `-xxxxx` more, of 63 at most."""


def minicluster(
    name: str,
    flavour: Flavour,
    size: int,
    *,
    max_size: int | None = None,
    image: str | None = None,
    config: KubernetesConfig | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The object, interactive: its brokers start and wait for jobs.

    Args:
        name: of the object, see `object_name`.
        flavour: of its nodes: a pod asks for all of one, and Flux gives out what the flavour has, however much more
            the machine under the pod may have.
        size: pods.
        max_size: pods that it may grow to; None: `size`.
        image: of the containers; None: the template's, or the Flux Operator's default.
        config: the section `kubernetes`, with its template read (`dict`).
        labels: of the object and its pods; `MANAGED_BY` is added.
        annotations: of the object.
    """
    config = config or KubernetesConfig()
    labels = {**MANAGED_BY, **(labels or {}), MINICLUSTER: name}
    metadata: dict[str, Any] = {"name": name, "labels": labels}
    if annotations:
        metadata["annotations"] = dict(annotations)
    template = config.template if isinstance(config.template, dict) else {}
    ours: dict[str, Any] = {"size": size}
    if max_size is not None and max_size > size:
        ours["maxSize"] = max_size
    ours |= {"interactive": True, "cleanup": True}
    if config.deadline is not None:
        ours["deadlineSeconds"] = config.deadline
    if config.archive is not None:
        ours["archive"] = {"path": f"{config.archive}/{labels.get(GROUP, name)}.tgz"}
    ours |= {
        # a service of its own: one that MiniClusters share goes with the first of them
        "network": {"headlessName": name, **({"disableAffinity": True} if config.disable_affinity else {})},
        "flux": _flux(config, flavour),
        "jobLabels": labels,
        "pod": _pod(config, flavour, labels),
    }
    spec = merged({k: v for k, v in template.items() if k != "containers"}, ours)
    spec["containers"] = _containers(config, flavour, image, template.get("containers", []))
    return {"apiVersion": API_VERSION, "kind": "MiniCluster", "metadata": metadata, "spec": spec}


def object_name(text: str, longest: int = LONGEST) -> str:
    """A name that Kubernetes takes: itself where it can be, else made so, with a hash that keeps it unique."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"m-{plain}".rstrip("-")
    if plain == text and len(plain) <= longest:
        return plain
    digest = sha256(text.encode()).hexdigest()[:6]
    return f"{plain[: longest - 7].rstrip('-')}-{digest}"


def life_name(group: str, run: str, life: int) -> str:
    """The name of the object that is the `life`-th MiniCluster of a group in a run: always the same one.

    Args:
        group: as the fleet calls it.
        run: the run's id: letters and digits, at most 10.
        life: from 1.
    """
    end = f"-{run}" if life == 1 else f"-{run}-{life}"
    return object_name(group, LONGEST - len(end)) + end


def merged(under: Any, over: Any) -> Any:
    """`over`, and where it says nothing, `under`: mappings key by key, lists one behind the other."""
    if isinstance(under, Mapping) and isinstance(over, Mapping):
        both = {k: merged(v, over[k]) if k in over else v for k, v in under.items()}
        return both | {k: v for k, v in over.items() if k not in under}
    if isinstance(under, list) and isinstance(over, list):
        return [*under, *over]
    return over


def amounts(flavour: Flavour, gpu_resource: str) -> dict[str, str]:
    """What a pod asks for, as Kubernetes' quantities."""
    asked = {"cpu": str(flavour.cores), "memory": f"{flavour.memory}Mi"}
    if flavour.gpus:
        asked[gpu_resource] = str(flavour.gpus)
    return asked | flavour.resources


def _flux(config: KubernetesConfig, flavour: Flavour) -> dict[str, Any]:
    options = config.flux
    small = {k: v for k, v in amounts(flavour, config.gpu_resource).items() if k in ("cpu", "memory")}
    # The init container's share is part of the pod's, no addition; quotas want every container to name one.
    container: dict[str, Any] = {"resources": {"requests": small, "limits": dict(small)}}
    if config.pod_security is not None:
        container["securityContext"] = config.containers_security
    if options.view_image is not None:
        container["image"] = options.view_image
    if options.disable:
        container["disable"] = True
    if config.image_pull_policy == "Always":
        container["pullAlways"] = True
    flux: dict[str, Any] = {"container": container, "scheduler": {"queuePolicy": options.queue_policy}}
    if options.scheduler == "simple":
        flux["scheduler"]["simple"] = True
    if options.option_flags is not None:
        flux["optionFlags"] = options.option_flags
    if options.environment:
        flux["environment"] = dict(options.environment)
    return flux


def _pod(config: KubernetesConfig, flavour: Flavour, labels: Mapping[str, str]) -> dict[str, Any]:
    pod: dict[str, Any] = {"labels": {**config.labels, **labels}}
    if config.annotations:
        pod["annotations"] = dict(config.annotations)
    if flavour.node_selector:
        pod["nodeSelector"] = dict(flavour.node_selector)
    if flavour.tolerations:
        pod["tolerations"] = [dict(t) for t in flavour.tolerations]
    if config.service_account is not None:
        pod["serviceAccountName"] = config.service_account
    if config.scheduler_name is not None:
        pod["schedulerName"] = config.scheduler_name
    if config.fs_group is not None:
        pod["securityContext"] = {"fsGroup": config.fs_group}
    return pod


def _containers(
    config: KubernetesConfig, flavour: Flavour, image: str | None, template: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The one that runs Flux first, over the template's first one; then the template's others."""
    asked = amounts(flavour, config.gpu_resource)
    ours: dict[str, Any] = {
        "runFlux": True,
        **({"image": image} if image is not None else {}),
        "imagePullPolicy": config.image_pull_policy,
        "resources": {"requests": asked, "limits": dict(asked)},
    }
    if config.image_pull_secret is not None:
        ours["imagePullSecret"] = config.image_pull_secret
    if config.environment:
        ours["environment"] = dict(config.environment)
    if config.secrets:
        ours["secrets"] = {variable: {"name": s.name, "key": s.key} for variable, s in config.secrets.items()}
    if security := config.containers_security:
        ours["securityContext"] = security
    if config.volumes:
        ours["volumes"] = dict(_volume(name, volume) for name, volume in config.volumes.items())
    first, *others = template or [{}]
    before = first.get("commands", {}).get("pre")
    ours["commands"] = {"pre": "\n".join(filter(None, (_give_out(flavour), before)))}
    if config.pod_security is not None:
        others = [merged(other, {"securityContext": security}) for other in others]
    return [merged(first, ours), *others]


def _give_out(flavour: Flavour) -> str:
    """Shell lines by which Flux gives out what the flavour has, not all that hwloc sees of the machine.

    They run in the operator's start script (`wait.sh`), after it has written the R of the whole machine to the same
    file, and use its variables. Flux's inventory of the machine would miss GPUs that hwloc has no plugin for, and
    drain nodes of a flavour that means to have more cores than the machine.
    """
    gpus = f" --gpus={_ids(flavour.gpus)}" if flavour.gpus else ""
    lines = [
        f'flux R encode --hosts="$hosts" --cores={_ids(flavour.cores)}{gpus} > "$configroot/etc/flux/system/R"',
        "sed -i 's/^\\[resource\\]$/[resource]\\nnoverify = true/' \"$cfg/broker.toml\"",
        "true",  # with `logging.quiet` the script sends its last command's output elsewhere
    ]
    return "; ".join(lines)


def _ids(count: int) -> str:
    """The first `count` ids as a Flux idset (RFC 22), which knows no range of one."""
    return "0" if count == 1 else f"0-{count - 1}"


def _volume(name: str, volume: Volume) -> tuple[str, dict[str, Any]]:
    """A volume in the operator's words, and by the name that it wants."""
    said: dict[str, Any] = {"path": volume.path} if volume.path else {}
    if volume.read_only:
        said["readOnly"] = True
    if volume.claim is not None:
        said["claimName"] = volume.claim
    elif volume.host_path is not None:
        said["hostPath"] = volume.host_path
    elif volume.empty_dir is not None:
        said["emptyDir"] = True
        if volume.empty_dir.medium:
            said["emptyDirMedium"] = volume.empty_dir.medium
        if volume.empty_dir.size_limit:
            said["emptyDirSizeLimit"] = volume.empty_dir.size_limit
    elif volume.secret is not None:
        said["secretName"] = volume.secret
    elif volume.config_map is not None:
        # the operator names the pod's volume after the config map, but mounts it by the name of this entry
        return volume.config_map, {**said, "configMapName": volume.config_map, "items": dict(volume.items)}
    elif volume.csi is not None:
        said |= {"csiDriver": volume.csi.driver, "csiDriverAttributes": dict(volume.csi.attributes)}
    return name, said
