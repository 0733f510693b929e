"""The section `kubernetes` of a fleet's configuration: everything that only MiniClusters in Kubernetes have."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, StringConstraints, WithJsonSchema, model_validator

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Document

Path = Annotated[str, StringConstraints(pattern=r"^/")]
"""An absolute path."""

DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""A name that Kubernetes takes for an object."""

VolumeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]

SHARED_MEMORY = "/dev/shm"

_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the Pod Security Standard `restricted` asks of a container."""


class EmptyDir(Document):
    """An empty directory of each pod, which the Flux Operator mounts at /dev/shm."""

    medium: Literal["memory"] | None = Field(None, description="`memory`; absent: the node's disk.")
    size_limit: str | None = Field(None, description="How large it may become, such as 8Gi.")


class Csi(Document):
    """A volume that a CSI driver makes for each pod."""

    driver: str = Field(description="The driver's name.")
    attributes: dict[str, str] = Field({}, description="What it is told.")


class Volume(Document):
    """What every pod mounts: one of claim, host_path, empty_dir, secret, config_map and csi."""

    path: Path | None = Field(None, description="Where it is mounted; an empty_dir is always at /dev/shm.")
    shared: bool = Field(False, description="The work directory lies on it: all MiniClusters see the same files.")
    read_only: bool = Field(False, description="Mounted so that nothing can be written.")
    claim: DnsName | None = Field(None, description="A PersistentVolumeClaim of the namespace.")
    host_path: Path | None = Field(None, description="A directory that is there on every node.")
    empty_dir: EmptyDir | None = Field(None, description="An empty directory, for shared memory.")
    secret: DnsName | None = Field(None, description="A Secret of the namespace.")
    config_map: DnsName | None = Field(None, description="A ConfigMap of the namespace.")
    items: dict[str, str] = Field({}, description="Of the config_map: each key and the file that it becomes.")
    csi: Csi | None = Field(None, description="A volume that a CSI driver makes.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Volume:
        kinds = ("claim", "host_path", "empty_dir", "secret", "config_map", "csi")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            said = " and ".join(given) if given else "none"
            raise ValueError(f"a volume is one of {', '.join(kinds)}; here is {said}")
        if self.empty_dir is not None:
            if self.path not in (None, SHARED_MEMORY):
                raise ValueError(f"the Flux Operator mounts an empty_dir at {SHARED_MEMORY}: leave `path` out")
        elif self.path is None:
            raise ValueError("`path` is missing: where the pods see the volume")
        if self.config_map is not None and not self.items:
            raise ValueError("`items` is missing: the keys of the config map, and the file that each becomes")
        if self.items and self.config_map is None:
            raise ValueError("only a config_map has `items`")
        if self.shared and (self.read_only or (self.claim is None and self.host_path is None)):
            raise ValueError("what MiniClusters share is a claim, or a host_path, that they can write to")
        return self


class SecretKey(Document):
    """A value that a Secret of the namespace has."""

    name: DnsName = Field(description="The Secret.")
    key: str = Field(min_length=1, description="Which of its values.")


class FluxOptions(Document):
    """How Flux gets into the pods, and how it runs."""

    view_image: str | None = Field(
        None, description="Image that brings Flux into the application's; absent: the Flux Operator's default."
    )
    disable: bool = Field(False, description="The application's image has Flux itself: no view is added to its PATH.")
    scheduler: Literal["fluxion", "simple"] = Field("fluxion", description="Flux's scheduler.")
    queue_policy: Literal["fcfs", "easy"] = Field("fcfs", description="Of Fluxion.")
    option_flags: str | None = Field(None, description="Option flags for Flux, as one text.")
    environment: dict[str, str] = Field({}, description="Variables of the view's environment.")


class KubernetesConfig(Document):
    """MiniClusters as custom resources of the Flux Operator (flux-framework.org/v1alpha2)."""

    kubeconfig: str | None = Field(
        None, description="The kubeconfig file; absent: KUBECONFIG, ~/.kube/config, or the pod that we run in."
    )
    context: str | None = Field(None, description="Context of the kubeconfig; absent: its current one.")
    in_cluster: bool = Field(False, description="Use the service account of the pod that we run in.")
    namespace: DnsName | None = Field(None, description="Namespace of the MiniClusters; absent: the context's.")
    owner: str | None = Field(None, description="Who is said to own the MiniClusters; absent: your user name.")

    attach: Annotated[DnsName | dict[str, str] | None, WithJsonSchema({"type": ["object", "string"]})] = Field(
        None,
        description="With `external: true`: the MiniCluster to attach to, by its name, or all that have these labels.",
    )

    image_pull_secret: DnsName | None = Field(None, description="Secret with which images are pulled.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When images are pulled."
    )
    gpu_resource: str = Field("nvidia.com/gpu", description="What Kubernetes calls the flavours' GPUs.")
    environment: dict[str, str] = Field(
        {}, description="Environment variables of the pods; whoever may see MiniClusters and pods can read them."
    )
    secrets: dict[str, SecretKey] = Field(
        {}, description="Environment variables of the pods that come from Secrets of the namespace, by variable."
    )
    volumes: dict[VolumeName, Volume] = Field({}, description="What every pod mounts, by name.")
    flux: FluxOptions = Field(default_factory=FluxOptions, description="How Flux gets into the pods, and runs.")

    labels: dict[str, str] = Field({}, description="Further labels of the pods.")
    annotations: dict[str, str] = Field({}, description="Annotations of the pods.")
    pod_security: Literal["restricted"] | None = Field(
        None,
        description="`restricted`: all containers keep that Pod Security Standard, as user 1000 where security_context "
        "names none; the volumes have to let that user write.",
    )
    security_context: dict[str, Any] = Field({}, description="The containers' securityContext, as Kubernetes has it.")
    fs_group: int | None = Field(None, description="Group that owns the pods' volumes (securityContext.fsGroup).")
    service_account: DnsName | None = Field(None, description="Service account of the pods.")
    scheduler_name: str | None = Field(None, description="Scheduler of the pods; absent: the cluster's default.")
    disable_affinity: bool = Field(
        False, description="Do not spread a MiniCluster's pods over nodes: several may run on one."
    )
    deadline: PositiveInt | None = Field(None, description="Seconds after which Kubernetes ends a MiniCluster.")
    orphan_timeout: NonNegativeFloat = Field(
        600.0, description="Seconds without a sign of life from us after which a MiniCluster ends itself; 0: never."
    )
    archive: Path | None = Field(
        None,
        description="Folder, on a volume, where Flux's state (its past jobs) is saved when a MiniCluster is torn down, "
        "and found when the next one of the same group comes up.",
    )
    template: Annotated[dict[str, Any] | str | None, WithJsonSchema({"type": ["object", "string"]})] = Field(
        None,
        description="A partial MiniCluster `spec`, inline or the path of a YAML file, for whatever has no key here. "
        "What the fleet and the keys here say goes before it.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> KubernetesConfig:
        if self.in_cluster and (self.kubeconfig or self.context):
            raise ValueError("in_cluster uses the pod's service account: leave kubeconfig and context out")
        return self

    @model_validator(mode="after")
    def _restricted_pods_mount_no_host_path(self) -> KubernetesConfig:
        mounted = [name for name, volume in self.volumes.items() if volume.host_path]
        if self.pod_security == "restricted" and mounted:
            raise ValueError(f"pod_security: restricted has no host_path, which volume {mounted[0]!r} is: use a claim")
        return self

    @model_validator(mode="after")
    def _environment_says_each_variable_once(self) -> KubernetesConfig:
        if twice := sorted(self.environment.keys() & self.secrets.keys()):
            raise ValueError(f"the variable {twice[0]} is in `environment` and in `secrets`")
        return self

    @model_validator(mode="after")
    def _paths_stay_apart(self) -> KubernetesConfig:
        paths: dict[str, str] = {}
        for name, volume in self.volumes.items():
            path = (volume.path or SHARED_MEMORY).rstrip("/")
            if path in paths:
                raise ValueError(f"the volumes {paths[path]!r} and {name!r} are both mounted at {path}")
            paths[path] = name
        shared = [name for name, volume in self.volumes.items() if volume.shared]
        if len(shared) > 1:
            raise ValueError(f"the volumes {' and '.join(map(repr, shared))} are both `shared`: one takes the work")
        return self

    @model_validator(mode="after")
    def _archive_outlives_pods(self) -> KubernetesConfig:
        if self.archive is not None:
            lasting = [v.path for v in self.volumes.values() if (v.claim or v.host_path) and not v.read_only and v.path]
            if not any(pathlib.PurePosixPath(self.archive).is_relative_to(path) for path in lasting):
                raise ValueError(f"archive {self.archive} is on no claim or host_path that pods can write to")
        return self

    @model_validator(mode="after")
    def _containers_are_a_list(self) -> KubernetesConfig:
        if isinstance(self.template, dict) and (wrong := _wrong_containers(self.template)):
            raise ValueError(wrong)
        return self

    @property
    def containers_security(self) -> dict[str, Any]:
        """The securityContext of the containers: what `pod_security` wants, and what `security_context` says."""
        return {**(_RESTRICTED if self.pod_security == "restricted" else {}), **self.security_context}

    @property
    def shared_path(self) -> str | None:
        """Where every pod sees the shared volume; None where there is none."""
        return next((v.path for v in self.volumes.values() if v.shared), None)


def _wrong_containers(template: dict[str, Any]) -> str | None:
    containers = template.get("containers", [])
    if isinstance(containers, list) and all(isinstance(c, dict) for c in containers):
        return None
    return "a template's `containers` is a list of containers, of which the first one runs Flux"


def read_template(path: pathlib.Path) -> dict[str, Any]:
    """The partial MiniCluster spec in a YAML file; a whole MiniCluster's `spec` is taken, too.

    Raises:
        UserError: it can't be read, or is something else.
    """
    from ruamel.yaml.error import YAMLError

    from streamflow_fluxop.bounded import load_yaml, read_text

    try:
        document = load_yaml(read_text(path))
    except UserError as error:
        raise UserError(f"the template {path} {error.what}", fix=error.fix) from None
    except YAMLError as error:
        raise UserError(f"the template {path} is no YAML: {error}") from None
    if isinstance(document, dict) and document.get("kind") == "MiniCluster":
        document = document.get("spec")
    if not isinstance(document, dict):
        raise UserError(
            f"the template {path} is not a MiniCluster's spec", fix="It is a mapping with keys such as `flux` or `pod`."
        )
    if wrong := _wrong_containers(document):
        raise UserError(f"{path}: {wrong}")
    return document
