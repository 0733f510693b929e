"""The Kubernetes API as the fleet uses it: tries again what may be tried again, and says what is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
from kubernetes_asyncio.client import ApiClient, ApiException, BatchV1Api, Configuration, CoreV1Api, CustomObjectsApi

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.kubernetes import kubeconfig
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError, NameTaken, NoRight
from streamflow_fluxop.miniclusters.kubernetes.resource import API_GROUP, PLURAL, VERSION

logger = logging.getLogger(__name__)

T = TypeVar("T")

MINICLUSTERS = f"{PLURAL}.{API_GROUP}"

PATIENCE = 60.0
"""Seconds for which a request is tried again: an API server that restarts is away for about 20."""

SETTLES = 2.0
"""Seconds in which a deleted MiniCluster that had no pods may still get a Job, and the Job pods."""

_REQUEST_TIMEOUT = 30.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})

_NO_RIGHT = re.compile(r'User ".*" cannot ')
"""How an authorizer says 403; admission says it in many other ways."""

CONNECTION_ERRORS = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


class Api:
    """One namespace of one Kubernetes cluster.

    Args:
        config: how to get there.
    """

    def __init__(self, config: KubernetesConfig) -> None:
        self._config = config
        self._configuration = Configuration()
        self._client: ApiClient | None = None
        self.namespace = config.namespace or "default"

    async def open(self) -> None:
        """Read the kubeconfig and get ready; the cluster itself is not asked yet.

        Raises:
            KubernetesError: there is no usable kubeconfig.
        """
        if self._client is None:
            await self._load()
            self._client = ApiClient(self._configuration)

    async def renew(self) -> None:
        """Read the kubeconfig again: what gives out tokens gives a new one.

        Raises:
            KubernetesError: there is no usable kubeconfig any more.
        """
        await self._load()

    async def ask(self) -> None:
        """Find out whether Kubernetes can be reached, and we may see pods.

        Raises:
            KubernetesError: it can't, or we may not.
        """
        await self.call("list", "pods", self.core.list_namespaced_pod, self.namespace, limit=1)

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def configuration(self) -> Configuration:
        """Address and credentials."""
        return self._configuration

    def plain(self, item: Any) -> dict[str, Any]:
        """A typed object as the JSON object that it was."""
        plain: dict[str, Any] = self._opened().sanitize_for_serialization(item)
        return plain

    @property
    def client(self) -> ApiClient:
        """What other APIs of Kubernetes are made with, to be used through `call`."""
        return self._opened()

    @property
    def core(self) -> CoreV1Api:
        """Kubernetes' own API, to be used through `call`."""
        return CoreV1Api(self._opened())

    @property
    def custom(self) -> CustomObjectsApi:
        """The API of custom resources, to be used through `call`."""
        return CustomObjectsApi(self._opened())

    def _opened(self) -> ApiClient:
        if self._client is None:
            raise RuntimeError("the API has not been opened")
        return self._client

    async def _load(self) -> None:
        namespace = await kubeconfig.load(self._config, self._configuration)
        self.namespace = self._config.namespace or namespace or "default"

    # ---------------------------------------------------------------------------------------------------- MiniClusters

    async def create(self, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create a MiniCluster; there is one afterwards, also where the answer to an earlier try got lost.

        Args:
            body: the whole object.
            dry_run: have it validated only.

        Raises:
            NameTaken: somebody else has one of this name.
            KubernetesError: it can't be created.
        """
        options: dict[str, Any] = {"field_validation": "Strict"}
        if dry_run:
            options["dry_run"] = "All"
        name = body["metadata"]["name"]
        try:
            return await self._minicluster("create", self.custom.create_namespaced_custom_object, body, **options)
        except KubernetesError as error:
            if error.status != 409 or dry_run:
                raise
        there = await self.get(name)
        if there is None or there["metadata"].get("deletionTimestamp"):
            raise KubernetesError(f"a MiniCluster {name} is still being deleted", 409)
        labels = there["metadata"].get("labels", {})
        if any(labels.get(k) != v for k, v in body["metadata"]["labels"].items()):
            raise NameTaken(f"somebody else has a MiniCluster {name} in namespace {self.namespace}", 409)
        return there

    async def get(self, name: str) -> dict[str, Any] | None:
        """A MiniCluster; None where there is none.

        Raises:
            KubernetesError: it can't be told.
        """
        return await self._unless_gone(self._minicluster("get", self.custom.get_namespaced_custom_object, name))

    async def delete(self, name: str) -> bool:
        """Delete a MiniCluster and, in the background, all that it owns.

        Returns:
            Whether there was one.

        Raises:
            KubernetesError: it can't be deleted.
        """
        function = self.custom.delete_namespaced_custom_object
        deleting = self._minicluster("delete", function, name, propagation_policy="Background")
        return await self._unless_gone(deleting) is not None

    async def is_gone(self, name: str) -> bool:
        """Whether a MiniCluster is no more, nor its Job, which replaces pods that end before it.

        Where we may not see Jobs: whether the MiniCluster is no more.

        Raises:
            KubernetesError: it can't be told.
        """
        if await self.get(name) is not None:
            return False
        read = BatchV1Api(self._opened()).read_namespaced_job
        try:
            return await self._unless_gone(self.call("get", "jobs", read, name, self.namespace)) is None
        except KubernetesError as error:
            if error.status == 403:
                return True
            raise

    async def job_uid(self, cluster: Mapping[str, Any]) -> str | None:
        """The uid of the Job of a MiniCluster, which owns its pods; None where we may not see Jobs.

        Raises:
            KubernetesError: it can't be told, or the Job of that name is somebody else's.
        """
        name, uid = cluster["metadata"]["name"], cluster["metadata"]["uid"]
        read = BatchV1Api(self._opened()).read_namespaced_job
        try:
            job: Any = await self.call("get", "jobs", read, name, self.namespace)
        except NoRight:
            return None
        if not any(owner.uid == uid for owner in job.metadata.owner_references or []):
            raise KubernetesError(f"the Job {name} in namespace {self.namespace} is not the MiniCluster's")
        return str(job.metadata.uid)

    async def resize(self, name: str, size: int) -> None:
        """Ask for another size of a MiniCluster.

        Raises:
            KubernetesError: it can't be asked for.
        """
        function = self.custom.patch_namespaced_custom_object
        await self._minicluster(
            "patch", function, name, {"spec": {"size": size}}, _content_type="application/merge-patch+json"
        )

    async def _minicluster(self, verb: str, function: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
        return await self.call(
            verb, MINICLUSTERS, function, API_GROUP, VERSION, self.namespace, PLURAL, *args, **options
        )

    # ------------------------------------------------------------------------------------------------------------ pods

    async def try_pod(self, body: Mapping[str, Any]) -> None:
        """Have admission look at a pod (dry run): PodSecurity, LimitRange, quota, webhooks.

        Raises:
            KubernetesError: it would not be taken.
        """
        create = self.core.create_namespaced_pod
        await self.call("create", "pods", create, self.namespace, body, dry_run="All", patience=5.0)

    async def log_of(self, pod: str, container: str, *, lines: int = 10) -> str:
        """The last lines of a container, of the run before the present one where that has ended; best effort."""
        for previous in (True, False):
            try:
                return await self.call(
                    "get", "pods/log", self.core.read_namespaced_pod_log, pod, self.namespace,
                    container=container, tail_lines=lines, previous=previous, patience=5.0,
                )  # fmt: skip
            except KubernetesError as error:
                logger.debug("no log of %s/%s: %s", pod, container, error)
        return ""

    async def end_pod(self, pod: str, *, grace: int = 2) -> None:
        """Have a pod that goes anyway go sooner; nothing happens where we may not.

        Args:
            pod: its name.
            grace: seconds until its processes are killed.
        """
        try:
            await self._unless_gone(
                self.call(
                    "delete", "pods", self.core.delete_namespaced_pod, pod, self.namespace, grace_period_seconds=grace
                )
            )
        except KubernetesError as error:
            logger.debug("%s", error)

    # -------------------------------------------------------------------------------------------------------- requests

    async def call(
        self,
        verb: str,
        resource: str,
        function: Callable[..., Awaitable[T]],
        *args: Any,
        patience: float = PATIENCE,
        **options: Any,
    ) -> T:
        """One request, tried again while that may help.

        Args:
            verb: of the right that it needs, for messages.
            resource: the right's resource, for messages.
            function: the API's, with its arguments.
            args: see `function`.
            patience: seconds for which it is tried again.
            options: see `function`.

        Raises:
            KubernetesError: it failed.
        """
        end = asyncio.get_running_loop().time() + patience
        wait = _FIRST_WAIT
        renewed = False
        while True:
            try:
                return await function(*args, _request_timeout=_REQUEST_TIMEOUT, **options)
            except ApiException as error:
                if error.status == 401 and not renewed:  # a token that has expired
                    renewed = True
                    await self.renew()
                    continue
                failure = self.in_words(verb, resource, error)
                if error.status not in _TRY_AGAIN:
                    raise failure from None
                asked = _retry_after(error.headers)
            except CONNECTION_ERRORS as error:
                failure = self.in_words(verb, resource, error)
                asked = None
            pause = max(wait * random.uniform(0.5, 1.0), asked or 0.0)
            if asyncio.get_running_loop().time() + pause > end:
                raise failure from None
            logger.debug("%s; trying again in %.1f s", failure, pause)
            await asyncio.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)

    @staticmethod
    async def _unless_gone(request: Awaitable[T]) -> T | None:
        try:
            return await request
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def in_words(self, verb: str, resource: str, error: BaseException) -> KubernetesError:
        """What went wrong with a request, for a user."""
        if not isinstance(error, ApiException):
            said = str(error) or type(error).__name__
            return KubernetesError(f"cannot reach Kubernetes at {self._configuration.host}: {said}")
        message = _message(error)
        match error.status:
            case 401:
                text = f"Kubernetes at {self._configuration.host} does not accept our credentials: {message}"
            case 403 if error.body and not _NO_RIGHT.search(message):  # a stream's 403 has no body
                text = f"Kubernetes refuses to {verb} {resource}: {message}"
            case 403:
                where = "" if "at the cluster scope" in message else f" in namespace {self.namespace}"
                return NoRight(
                    f"no right to {verb} {resource}{where}: {message}. "
                    "docs/rbac.md says how to get the rights that a fleet needs.",
                    403,
                )
            case 404 if resource == MINICLUSTERS and '"' not in message:  # else it names the object that is not there
                text = (
                    f"Kubernetes knows no {MINICLUSTERS} of version {VERSION}: "
                    "the Flux Operator is not installed, or is another version"
                )
            case _:
                text = f"Kubernetes cannot {verb} {resource}: {message}"
        return KubernetesError(text, error.status)


def _retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Seconds that the server asks us to wait (RFC 9110, 10.2.3; Kubernetes sends seconds, not dates)."""
    try:
        return float((headers or {}).get("Retry-After", ""))
    except ValueError:
        return None


def _message(error: ApiException) -> str:
    """What the server says: a `Status` object's message, or whatever came."""
    try:
        message = json.loads(error.body or "")["message"]
    except (ValueError, TypeError, KeyError):
        body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body
        message = body or error.reason or f"status {error.status}"
    return str(message).strip()
