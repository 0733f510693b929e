"""One test's namespace: what the tests make, look at and break there, as the cluster's administrator."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from kubernetes_asyncio import client
from kubernetes_asyncio.client import ApiClient, ApiException
from kubernetes_asyncio.config import new_client_from_config
from kubernetes_asyncio.stream import WsApiClient

from streamflow_fluxop.miniclusters.kubernetes import resource

RBAC = Path(__file__).parents[2] / "manifests" / "rbac.yaml"
GROUP, VERSION, PLURAL = "flux-framework.org", "v1alpha2", "miniclusters"

Object = dict[str, Any]


class Namespace:
    """See the fixture `namespace`.

    Args:
        api: of the administrator.
        name: of the namespace.
        image: of pods.
        folder: for kubeconfig files.
    """

    def __init__(self, api: ApiClient, name: str, image: str, folder: Path) -> None:
        self.api = api
        self.name = name
        self.image = image
        self.core = client.CoreV1Api(api)
        self.batch = client.BatchV1Api(api)
        self._custom = client.CustomObjectsApi(api)
        self._folder = folder
        self._volumes: list[str] = []
        self.kubeconfig = folder / "kubeconfig"

    async def create(self) -> None:
        await self.core.create_namespace({"metadata": {"name": self.name}})

        async def has_its_default_account() -> None:  # without it pods are refused, and tried again ever more seldom
            accounts = await self.core.list_namespaced_service_account(self.name)
            assert "default" in [a.metadata.name for a in accounts.items]

        await eventually(has_its_default_account)
        self.kubeconfig = await self.account("fluxop", yaml.safe_load_all(RBAC.read_text()))

    async def account(self, name: str, manifests: Iterable[Object]) -> Path:
        """A service account with these rights, which are those of manifests/rbac.yaml changed: its kubeconfig."""
        core, rbac = self.core, client.RbacAuthorizationV1Api(self.api)
        cluster_wide = f"{self.name}-{name}"
        for manifest in manifests:
            manifest["metadata"] = {"name": name, "namespace": self.name}
            if "roleRef" in manifest:
                whole = manifest["roleRef"]["kind"] == "ClusterRole"
                manifest["roleRef"]["name"] = cluster_wide if whole else name
                manifest["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": self.name}]
            if manifest["kind"].startswith("Cluster"):
                manifest["metadata"] = {"name": cluster_wide, "labels": {"fluxop-test": self.name}}
            match manifest["kind"]:
                case "ServiceAccount":
                    await core.create_namespaced_service_account(self.name, manifest)
                case "Role":
                    await rbac.create_namespaced_role(self.name, manifest)
                case "RoleBinding":
                    await rbac.create_namespaced_role_binding(self.name, manifest)
                case "ClusterRole":
                    await rbac.create_cluster_role(manifest)
                case "ClusterRoleBinding":
                    await rbac.create_cluster_role_binding(manifest)
                case kind:
                    raise AssertionError(f"a kind that the tests do not know: {kind}")
        request = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=["https://kubernetes.default.svc"], expiration_seconds=7200)
        )
        token = await core.create_namespaced_service_account_token(name, self.name, request)
        return self.write_kubeconfig(name, token.status.token)

    def through(self, url: str) -> Path:
        """The service account's kubeconfig with another address of the API server, such as a proxy's."""
        document = yaml.safe_load(self.kubeconfig.read_text())
        document["clusters"][0]["cluster"] = {"server": url}
        path = self._folder / "kubeconfig-through-proxy"
        path.write_text(yaml.safe_dump(document))
        return path

    def write_kubeconfig(self, user: str, token: str, *, server: str | None = None) -> Path:
        """A kubeconfig whose one context is this namespace, as this user; `server` instead of the API server itself."""
        settings = self.api.configuration
        cluster: Object = {"server": server or settings.host, "certificate-authority": settings.ssl_ca_cert}
        if server is not None:
            cluster["tls-server-name"] = "kubernetes.default.svc"
        context = {"cluster": "test", "user": user, "namespace": self.name}
        path = self._folder / f"kubeconfig-{user}{'-proxy' if server else ''}"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": user, "user": {"token": token}}],
                    "contexts": [{"name": "test", "context": context}],
                    "current-context": "test",
                }
            )
        )
        return path

    async def client(self, kubeconfig: Path | None = None) -> ApiClient:
        """Of the service account; to be closed."""
        return await new_client_from_config(str(kubeconfig or self.kubeconfig))

    async def volume(self, name: str, path: Path, *, modes: tuple[str, ...] = ("ReadWriteMany",)) -> None:
        """A claim of this name, bound when this returns to a volume that is this folder of each node."""
        volume = f"{self.name}-{name}"
        self._volumes.append(volume)
        size = {"storage": "1Gi"}
        await self.core.create_persistent_volume(
            {
                "metadata": {"name": volume},
                "spec": {
                    "capacity": size,
                    "accessModes": list(modes),
                    "hostPath": {"path": str(path)},
                    "storageClassName": "",
                    "claimRef": {"name": name, "namespace": self.name},
                },
            }
        )
        spec = {
            "accessModes": list(modes),
            "storageClassName": "",
            "volumeName": volume,
            "resources": {"requests": size},
        }
        await self.core.create_namespaced_persistent_volume_claim(
            self.name, {"metadata": {"name": name, "labels": {"fluxop-test": "claim"}}, "spec": spec}
        )

        async def is_bound() -> None:
            claim = await self.core.read_namespaced_persistent_volume_claim(name, self.name)
            assert claim.status.phase == "Bound", claim.status

        await eventually(is_bound)

    async def minicluster(self, name: str, *, run: str = "", **spec: Any) -> None:
        """Create a MiniCluster as somebody else's, or as one that a run of ours has left behind."""
        ours = {**resource.MANAGED_BY, resource.RUN: run, resource.MINICLUSTER: name} if run else {}
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "MiniCluster",
            "metadata": {"name": name, "labels": ours},
            "spec": {
                "pod": {"labels": ours},
                "interactive": True,
                "containers": [{"image": self.image, "runFlux": True}],
                "flux": {"container": {"image": self.image, "disable": True}},
                **spec,
            },
        }
        await self._custom.create_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL, body)

    async def patch_minicluster(self, name: str, **spec: Any) -> None:
        await self._custom.patch_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURAL, name, {"spec": spec}, _content_type="application/merge-patch+json"
        )

    async def delete_minicluster(self, name: str) -> None:
        await self._custom.delete_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL, name)

    async def miniclusters(self) -> list[Object]:
        found = await self._custom.list_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL)
        return list(found["items"])

    async def pods(self) -> list[Any]:
        return list((await self.core.list_namespaced_pod(self.name)).items)

    async def pod(self, minicluster: str, index: int) -> Any:
        """The pod of this rank that is not going away; None: there is none."""
        for pod in await self.pods():
            if pod.metadata.name.startswith(f"{minicluster}-{index}-") and not pod.metadata.deletion_timestamp:
                return pod
        return None

    async def kill_pod(self, name: str) -> None:
        """At once, as when its node fails."""
        await self.core.delete_namespaced_pod(name, self.name, grace_period_seconds=0)

    async def run_in(self, pod: str, command: str) -> str:
        """What this shell command in the pod's container prints."""
        async with WsApiClient(self.api.configuration) as stream:
            run = client.CoreV1Api(stream).connect_get_namespaced_pod_exec
            argv = ["/bin/sh", "-c", command]
            return str(await run(pod, self.name, command=argv, stderr=True, stdout=True, stdin=False, tty=False))

    async def what_is_left(self) -> list[str]:
        """MiniClusters, and what must go with them."""
        core, left = self.core, []
        for kind, found in (
            ("MiniCluster", [m["metadata"]["name"] for m in await self.miniclusters()]),
            ("Job", [j.metadata.name for j in (await self.batch.list_namespaced_job(self.name)).items]),
            ("pod", [p.metadata.name for p in await self.pods()]),
            ("service", [s.metadata.name for s in (await core.list_namespaced_service(self.name)).items]),
            ("config map", [c.metadata.name for c in (await core.list_namespaced_config_map(self.name)).items]),
            (
                "claim",
                [
                    c.metadata.name
                    for c in (await core.list_namespaced_persistent_volume_claim(self.name)).items
                    if "fluxop-test" not in (c.metadata.labels or {})
                ],
            ),
        ):
            left += [f"{kind} {name}" for name in found if name != "kube-root-ca.crt"]
        return left

    async def describe(self) -> str:
        """What a reader of a failed test wants to know: the MiniClusters' states, Jobs, pods, and what happened."""
        lines = [f"MiniCluster {m['metadata']['name']}: {m.get('status')}" for m in await self.miniclusters()]
        jobs = (await self.batch.list_namespaced_job(self.name)).items
        lines += [f"Job {j.metadata.name}: {j.status.active} active, {j.status.failed} failed" for j in jobs]
        for pod in await self.pods():
            going = ", going" if pod.metadata.deletion_timestamp else ""
            lines.append(f"pod {pod.metadata.name}: {pod.status.phase}{going}")
        for event in (await self.core.list_namespaced_event(self.name)).items:
            about = f"{event.involved_object.kind} {event.involved_object.name}"
            lines.append(f"{event.last_timestamp or event.event_time} {about}: {event.reason}: {event.message}")
        return "\n".join(lines)

    async def is_empty(self, seconds: float = 30.0) -> None:
        """Nothing of ours is left.

        Pods must be gone already: whoever took a MiniCluster down waits for them. The rest goes with its owner, which
        the garbage collector does in the background.
        """
        pods = [p.metadata.name for p in await self.pods()]
        assert not pods, f"left in {self.name}: {pods}"
        await eventually(self._is_empty, seconds)

    async def _is_empty(self) -> None:
        left = await self.what_is_left()
        assert not left, f"left in {self.name}: {left}"

    async def wipe(self) -> None:
        """Delete what the test itself has made, and wait until it is gone."""
        for item in await self.miniclusters():
            await _if_there(self.delete_minicluster(item["metadata"]["name"]))

        async def gone() -> None:
            for pod in await self.pods():
                await _if_there(self.kill_pod(pod.metadata.name))
            await self._is_empty()
            await asyncio.sleep(1)  # the Job controller may not know yet, and make one more pod
            await self._is_empty()

        await eventually(gone)

    async def delete(self) -> None:
        """With everything in it, at once."""
        for item in await self.miniclusters():
            await _if_there(self.delete_minicluster(item["metadata"]["name"]))
        for pod in await self.pods():
            await _if_there(self.kill_pod(pod.metadata.name))
        await self.core.delete_namespace(self.name)
        for volume in self._volumes:
            await self.core.delete_persistent_volume(volume)
        rbac, mine = client.RbacAuthorizationV1Api(self.api), f"fluxop-test={self.name}"
        await rbac.delete_collection_cluster_role_binding(label_selector=mine)
        await rbac.delete_collection_cluster_role(label_selector=mine)

    @contextlib.asynccontextmanager
    async def quota(self, **hard: str) -> AsyncIterator[None]:
        """A ResourceQuota, such as `pods="1"`."""
        await self.core.create_namespaced_resource_quota(
            self.name, {"metadata": {"name": "small"}, "spec": {"hard": hard}}
        )
        yield
        await self.core.delete_namespaced_resource_quota("small", self.name)


async def eventually(holds: Callable[[], Awaitable[None]], seconds: float = 60.0) -> None:
    """Wait until what `holds` asserts is so; its last AssertionError when that takes longer."""
    end = time.monotonic() + seconds
    while True:
        try:
            return await holds()
        except AssertionError:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.1)


async def _if_there(deletion: Awaitable[Any]) -> None:
    try:
        await deletion
    except ApiException as error:
        if error.status != 404:
            raise
