"""Whether a Kubernetes cluster has what a fleet needs, looked at without making anything there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kubernetes_asyncio.client import ApiextensionsV1Api, AuthorizationV1Api, VersionApi

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.finding import Finding
from streamflow_fluxop.miniclusters.kubernetes import nodes, pods, resource
from streamflow_fluxop.miniclusters.kubernetes.api import MINICLUSTERS, Api
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError, NoRight
from streamflow_fluxop.miniclusters.kubernetes.quantities import exceeds
from streamflow_fluxop.miniclusters.kubernetes.rbac import command
from streamflow_fluxop.miniclusters.kubernetes.readiness import QUOTA
from streamflow_fluxop.model import Flavour

_PATIENCE = 5.0  # seconds: a doctor does not wait for an API server that restarts


class Right(NamedTuple):
    """A right in the fleet's namespace, or (`cluster_wide`) beyond it."""

    verb: str
    group: str
    resource: str
    without: str
    """What does not work without it; empty: nothing does."""
    cluster_wide: bool = False

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


RIGHTS = (
    *(Right(v, resource.API_GROUP, "miniclusters", "") for v in ("get", "list", "create", "delete")),
    Right("patch", resource.API_GROUP, "miniclusters", "MiniClusters keep their size"),
    *(Right(v, "", "pods", "") for v in ("list", "watch")),
    Right("delete", "", "pods", "a MiniCluster that did not come up takes its grace period, 30 s, to go"),
    Right("create", "", "pods", "`fluxop doctor` can't try what the namespace's policies and quotas say to a pod"),
    Right("get", "batch", "jobs", "pods that are replaced while a MiniCluster goes down may outlive it by a moment"),
    *(Right(v, "", "pods/exec", "") for v in ("get", "create")),
    Right("get", "", "pods/log", "a MiniCluster that crashes does not show its last words"),
    *(
        Right(v, "", "events", "less is said of why a MiniCluster does not come up")
        for v in ("list", "watch")
    ),
    Right("get", "", "persistentvolumeclaims", "`fluxop doctor` can't look at the volumes"),
    Right("list", "", "nodes", "`fluxop doctor` and `fluxop flavours` can't look at the nodes", cluster_wide=True),
    Right(
        "get", "apiextensions.k8s.io", "customresourcedefinitions",
        "`fluxop doctor` can't tell the Flux Operator's version", cluster_wide=True,
    ),
)  # fmt: skip
"""What the plugin uses; rbac.yaml grants it, docs/rbac.md explains it."""


@dataclass(frozen=True)
class Planned:
    """A MiniCluster that a run would make.

    Attributes:
        name: of its group.
        flavour: name of its flavour.
        size: nodes.
        image: of its containers; None: the template's, or the Flux Operator's default.
    """

    name: str
    flavour: str
    size: int
    image: str | None


async def examine(
    api: Api, config: KubernetesConfig, flavours: Mapping[str, Flavour], planned: Sequence[Planned]
) -> AsyncIterator[Finding]:
    """Look at everything, in the order in which a run meets it; what can't be reached ends it.

    Args:
        api: opened.
        config: of the fleet, with its template read.
        flavours: by name.
        planned: the MiniClusters of the run.
    """
    reached = await _version(api)
    yield reached
    if reached.level == "fail":
        return
    operator = await _operator(api)
    yield operator
    for finding in await _rights(api):
        yield finding
    images = {one.image for one in planned if one.image}
    if operator.level != "fail":
        kinds = {(one.flavour, one.image): one for one in sorted(planned, key=lambda one: one.size)}
        for one in planned:
            body = resource.minicluster(
                resource.life_name(one.name, "doctor", 1),
                flavours[one.flavour], one.size, image=one.image, config=config,
            )  # fmt: skip
            finding, whole = await _dry_run(api, one, body)
            yield finding
            images |= pods.images(whole or body)
            if whole is not None and one is kinds[one.flavour, one.image]:
                yield await _try_pods(api, one, whole)
    for finding in await _volumes(api, config, planned):
        yield finding
    for finding in await _nodes(api, config, flavours, planned, images):
        yield finding


def _grant(api: Api) -> str:
    """How to get the rights."""
    return f"{command(api.namespace)}; docs/rbac.md says what each right is for, and how your own user gets it."


async def _version(api: Api) -> Finding:
    try:
        # typed answers of this one lack the field that Kubernetes 1.34 added
        version: Any = await api.call("get", "version", VersionApi(api.client).get_code, patience=_PATIENCE)
    except KubernetesError as error:
        return Finding("fail", str(error), "Check the kubeconfig, its context, and the network.")
    host = api.configuration.host
    return Finding("ok", f"Kubernetes {version.git_version} at {host}, namespace {api.namespace}")


async def _operator(api: Api) -> Finding:
    definitions = ApiextensionsV1Api(api.client)
    try:
        crd: Any = await api.call(
            "get", "customresourcedefinitions", definitions.read_custom_resource_definition, MINICLUSTERS
        )
    except KubernetesError as error:
        if error.status == 404:
            return Finding(
                "fail", "the Flux Operator is not installed: there is no resource definition of MiniClusters",
                "docs/kubernetes.md says how to install it.",
            )  # fmt: skip
        fix = _grant(api) if isinstance(error, NoRight) else ""
        return Finding("warn", f"the Flux Operator's version can't be told: {error}", fix)
    served = [v.name for v in crd.spec.versions if v.served]
    if resource.VERSION not in served:
        return Finding(
            "fail",
            f"the Flux Operator there serves {', '.join(served)} of MiniClusters, not {resource.VERSION}",
            f"Install a version that serves {resource.VERSION}.",
        )
    return Finding("ok", f"MiniClusters of the Flux Operator, {resource.API_VERSION}")


async def _rights(api: Api) -> list[Finding]:
    try:
        allowed = await asyncio.gather(*(_allowed(api, right) for right in RIGHTS))
    except KubernetesError as error:
        return [Finding("warn", f"your rights can't be told: {error}", "docs/rbac.md lists those that are needed.")]
    missing = [right for right, yes in zip(RIGHTS, allowed, strict=True) if not yes]
    if not missing:
        return [Finding("ok", f"all {len(RIGHTS)} rights that a fleet uses")]
    return [
        Finding(
            "warn" if right.without else "fail",
            f"no right to {right}" + (f": {right.without}" if right.without else ""),
            _grant(api),
        )
        for right in missing
    ]


async def _allowed(api: Api, right: Right) -> bool:
    name, _, sub = right.resource.partition("/")
    asked: dict[str, Any] = {"verb": right.verb, "group": right.group, "resource": name, "subresource": sub}
    if not right.cluster_wide:
        asked["namespace"] = api.namespace
    elif name == "customresourcedefinitions":
        asked["name"] = MINICLUSTERS
    review: Any = {"spec": {"resourceAttributes": asked}}
    create = AuthorizationV1Api(api.client).create_self_subject_access_review
    answer: Any = await api.call("create", "selfsubjectaccessreviews", create, review)
    return bool(answer.status.allowed)


async def _dry_run(api: Api, one: Planned, body: dict[str, Any]) -> tuple[Finding, dict[str, Any] | None]:
    """Whether the API server takes a MiniCluster, and the whole object, with its defaults, if it does."""
    what = f"MiniCluster {one.name} of {one.size} {one.flavour}"
    try:
        whole = await api.create(body, dry_run=True)
    except NoRight as error:
        return Finding("fail", f"{what} can't be tried: {error}", _grant(api)), None
    except KubernetesError as error:
        fix = "Change what the message names, in the fleet's configuration."
        return Finding("fail", f"{what}: {error}", fix), None
    return Finding("ok", f"{what}: the API server takes it (dry run)"), whole


async def _try_pods(api: Api, one: Planned, cluster: dict[str, Any]) -> Finding:
    """What admission says to a pod of a MiniCluster, and quotas to all of them."""
    what = f"a pod of {one.flavour}" + (f" with {one.image}" if one.image else "")
    try:
        await api.try_pod(pods.pod(cluster))
    except KubernetesError as error:
        return _refused(api, what, error)
    if one.size > 1:
        what = f"{one.size} pods of {one.flavour}"
        try:
            await api.try_pod(pods.pod(cluster, one.size))
        except KubernetesError as error:
            if QUOTA.search(str(error)):  # other policies look at one pod, which this is not
                return _refused(api, what, error)
    return Finding("ok", f"{what}: policies and quotas of the namespace take it (dry run)")


def _refused(api: Api, what: str, error: KubernetesError) -> Finding:
    if isinstance(error, NoRight):
        return Finding("warn", f"{what} can't be tried: {error}", _grant(api))
    if match := QUOTA.search(str(error)):
        quota, requested, used, limited = match.groups()
        said = f"{what}: asked for {requested}, but the quota {quota} of the namespace is {limited}"
        if exceeds(requested, limited):
            return Finding("fail", f"{said} in all", "Make flavours or sizes smaller, or ask for a larger quota.")
        return Finding("warn", f"{said}, of which others use {used} now", "It waits until they are gone.")
    if error.status == 403:
        fix = "Change what the message names: `kubernetes.security_context`, the volumes, or the flavour."
        return Finding("fail", f"{what}: {error}", fix)
    return Finding("warn", f"{what} can't be tried: {error}")


async def _volumes(api: Api, config: KubernetesConfig, planned: Sequence[Planned]) -> list[Finding]:
    pods = sum(one.size for one in planned)
    found = []
    for name, volume in config.volumes.items():
        if volume.claim is not None:
            found.append(await _claim(api, name, volume.claim, pods))
    if config.shared_path is None and pods > 1:
        found.append(
            Finding(
                "warn",
                "no volume is shared: data goes through the controller, between MiniClusters of one pod only",
                "Write `shared: true` at a claim that many nodes can mount (ReadWriteMany).",
            )
        )
    return found


async def _claim(api: Api, name: str, claim: str, pods: int) -> Finding:
    what = f"volume {name}: claim {claim}"
    read = api.core.read_namespaced_persistent_volume_claim
    try:
        there: Any = await api.call("get", "persistentvolumeclaims", read, claim, api.namespace)
    except KubernetesError as error:
        if error.status == 404:
            return Finding("fail", f"{what} is not there", f"Make it in namespace {api.namespace}, or name another.")
        return Finding("warn", f"{what} can't be looked at: {error}", _grant(api) if isinstance(error, NoRight) else "")
    modes = there.spec.access_modes or []
    said = f"{what} is {', '.join(modes)} and {there.status.phase}"
    if there.status.phase == "Lost":
        return Finding("fail", said, "The volume behind the claim is gone: make a new claim.")
    if "ReadWriteMany" not in modes and pods > 1:
        one_pod = "ReadWriteOncePod" in modes
        return Finding(
            "fail" if one_pod else "warn",
            f"{said}, but up to {pods} pods mount it" + ("" if one_pod else ": they would all have to be on one node"),
            "Use a claim with access mode ReadWriteMany.",
        )
    if there.status.phase != "Bound":
        return Finding("warn", said, "It is bound when the first pod uses it, if its storage class says so.")
    return Finding("ok", said)


async def _nodes(
    api: Api,
    config: KubernetesConfig,
    flavours: Mapping[str, Flavour],
    planned: Sequence[Planned],
    images: Iterable[str],
) -> list[Finding]:
    try:
        there = await nodes.list_nodes(api)
    except KubernetesError as error:
        fix = _grant(api) if isinstance(error, NoRight) else ""
        return [Finding("warn", f"the nodes can't be looked at: {error}", fix)]
    found = []
    for name, flavour in flavours.items():
        largest = max((one.size for one in planned if one.flavour == name), default=1)
        count, reasons = nodes.fitting(flavour, there, config.gpu_resource)
        what = f"flavour {name}: {count} of {len(there)} nodes fit"
        if count >= largest or (count and config.disable_affinity):
            found.append(Finding("ok", what))
        else:
            why = "; ".join([what, *reasons])
            fix = "An autoscaler may add nodes; else make the flavour as `fluxop flavours` shows the nodes."
            found.append(Finding("warn", f"{why}; a MiniCluster wants {largest}", fix))
    return [*found, *_images(there, images)]


def _images(there: Iterable[dict[str, Any]], images: Iterable[str]) -> list[Finding]:
    """Nobody can tell whether an image can be pulled but a node that tries."""
    known = {name for node in there for image in node["status"].get("images", []) for name in image.get("names", [])}
    return [
        Finding("ok", f"image {image} is on a node already")
        if image in known or f"docker.io/{image}" in known or f"docker.io/library/{image}" in known
        else Finding("warn", f"image {image} is on no node yet", "Nodes pull it when a MiniCluster comes up.")
        for image in sorted(images)
    ]
