"""What runs have left behind in a namespace: found by our labels, and removed. Never what we did not make."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from streamflow_fluxop.miniclusters.kubernetes import resource
from streamflow_fluxop.miniclusters.kubernetes.api import MINICLUSTERS, SETTLES, Api
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError

_SELECTOR = ",".join(f"{key}={value}" for key, value in resource.MANAGED_BY.items())
_LOOK_AGAIN = 0.5
GONE_TIMEOUT = 60.0
"""Seconds that pods get to go: their grace period, in which nobody shuts Flux down, is 30 s."""


@dataclass(frozen=True)
class Leftover:
    """A MiniCluster of ours.

    Attributes:
        name: of the object.
        run: id of the run that made it.
        deployment: the fleet's name.
        owner: who ran it.
        size: pods that it has.
        flavour: of its nodes.
        age: seconds since it was made.
        going: whether it is being deleted already.
    """

    name: str
    run: str
    deployment: str
    owner: str
    size: int
    flavour: str
    age: float
    going: bool


async def find(api: Api, *, run: str | None = None, now: datetime | None = None) -> list[Leftover]:
    """The MiniClusters that this package has made in the namespace, the oldest first.

    Args:
        api: opened.
        run: of this run only.
        now: instead of the present time.

    Raises:
        KubernetesError: they can't be listed.
    """
    selector = _SELECTOR + (f",{resource.RUN}={run}" if run else "")
    found = await api.call(
        "list", MINICLUSTERS, api.custom.list_namespaced_custom_object,
        resource.API_GROUP, resource.VERSION, api.namespace, resource.PLURAL, label_selector=selector,
    )  # fmt: skip
    moment = now or datetime.now(timezone.utc)
    left = [_leftover(item, moment) for item in found["items"]]
    # without the label of a run it is no run's of ours, whoever said that we manage it
    return sorted((item for item in left if item.run), key=lambda item: -item.age)


async def remove(api: Api, leftovers: Sequence[Leftover], *, timeout: float = GONE_TIMEOUT) -> list[str]:
    """Delete MiniClusters, all at the same time, and wait until they and their pods are gone.

    Args:
        api: opened.
        leftovers: as `find` gave them; those that have gone meanwhile are no mistake.
        timeout: seconds that they get together.

    Returns:
        What is still there, with why, a line each.
    """
    outcomes = await asyncio.gather(*(_remove(api, item.name, timeout) for item in leftovers))
    return [problem for problem in outcomes if problem]


async def _remove(api: Api, name: str, timeout: float) -> str | None:
    try:
        pods = await _pods(api, name)
        await api.delete(name)
        await asyncio.gather(*map(api.end_pod, pods))
        await asyncio.wait_for(_gone(api, name, 0.0 if pods else SETTLES), timeout)
    except asyncio.TimeoutError:
        return f"{name}: deleted, but {timeout:g} s later it is still there: look at it with kubectl"
    except KubernetesError as error:
        return f"{name}: {error}"
    return None


async def _gone(api: Api, name: str, settles: float) -> None:
    clock = asyncio.get_running_loop().time
    settled = clock() + settles
    while clock() < settled or await _pods(api, name) or not await api.is_gone(name):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(_LOOK_AGAIN)


async def _pods(api: Api, name: str) -> list[str]:
    selector = f"{resource.MINICLUSTER}={name}"
    found = await api.call("list", "pods", api.core.list_namespaced_pod, api.namespace, label_selector=selector)
    return [pod.metadata.name for pod in found.items]


def runs_of(leftovers: Iterable[Leftover]) -> list[str]:
    """The runs' ids, each once, in order."""
    return list(dict.fromkeys(item.run for item in leftovers))


def _leftover(item: dict[str, Any], now: datetime) -> Leftover:
    metadata = item["metadata"]
    labels = metadata.get("labels", {})
    made = datetime.fromisoformat(metadata["creationTimestamp"].replace("Z", "+00:00"))
    return Leftover(
        name=metadata["name"],
        run=labels.get(resource.RUN, ""),
        deployment=labels.get(resource.DEPLOYMENT, ""),
        owner=labels.get(resource.OWNER, ""),
        size=item.get("spec", {}).get("size", 0),
        flavour=labels.get(resource.FLAVOUR, ""),
        age=max(0.0, (now - made).total_seconds()),
        going="deletionTimestamp" in metadata,
    )
