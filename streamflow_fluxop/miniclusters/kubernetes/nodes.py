"""The nodes of a cluster as flavours: nodes that are alike become one. No I/O but `list_nodes`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from streamflow_fluxop.miniclusters.kubernetes.api import Api
from streamflow_fluxop.miniclusters.kubernetes.quantities import MIB, quantity
from streamflow_fluxop.miniclusters.kubernetes.resource import amounts
from streamflow_fluxop.model import Flavour

Object = dict[str, Any]

POOL_LABELS = (
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "karpenter.sh/nodepool",
    "kubernetes.azure.com/agentpool",
    "node.kubernetes.io/instance-type",
)
"""Labels that tell kinds of nodes apart, the most telling first."""

_PASSING = "node.kubernetes.io/"
"""Prefix of the taints that Kubernetes itself sets and takes away, such as not-ready."""

_SYSTEM_SHARE = 0.9
_SYSTEM_MEMORY = 256
"""Of a node's memory a tenth, and 256 MiB at least, is for what runs on every node (daemon sets)."""


async def list_nodes(api: Api) -> list[Object]:
    """All nodes, as JSON objects.

    Raises:
        KubernetesError: they can't be listed.
    """
    found = await api.call("list", "nodes", api.core.list_node)
    return [api.plain(node) for node in found.items]


def flavours(nodes: Iterable[Object], gpu_resource: str = "nvidia.com/gpu") -> dict[str, Flavour]:
    """The kinds of nodes that take pods, by a name made of what tells them apart; the one with the most cores first.

    Nodes are of one kind when cores, GPUs, memory (to a twentieth), pool and taints are the same. Cores and memory
    are what is allocatable, less a core and a tenth of the memory: a pod that asks for all of a node never fits beside
    the pods that run on every node. On a node of one core, or less, a pod asks for half of it (`resources`).
    """
    kinds: dict[tuple[Any, ...], list[Object]] = {}
    for node in nodes:
        if not node.get("spec", {}).get("unschedulable") and _ready(node):
            kinds.setdefault(_kind(node, gpu_resource), []).append(node)
    made = [(_name(group[0], gpu_resource), _flavour(group, gpu_resource)) for group in kinds.values()]
    made.sort(key=lambda pair: (-pair[1].cores, -pair[1].memory, pair[0]))
    counts: Counter[str] = Counter()
    named = {}
    for name, flavour in made:
        counts[name] += 1
        named[name if counts[name] == 1 else f"{name}-{counts[name]}"] = flavour
    return named


def fitting(flavour: Flavour, nodes: Iterable[Object], gpu_resource: str = "nvidia.com/gpu") -> tuple[int, list[str]]:
    """How many nodes an empty cluster would have for a flavour's pods, and why the others are none, in words.

    Args:
        flavour: a pod of it asks for its cores, memory and GPUs, or what its `resources` say instead, and beside them.
        nodes: as `list_nodes` gives them.
        gpu_resource: what Kubernetes calls the flavour's GPUs.
    """
    reasons: Counter[str] = Counter()
    count = 0
    for node in nodes:
        reason = _unfit(flavour, node, gpu_resource)
        if reason is None:
            count += 1
        else:
            reasons[reason] += 1
    return count, [f"{n} {'node' if n == 1 else 'nodes'}: {reason}" for reason, n in reasons.most_common()]


def _unfit(flavour: Flavour, node: Object, gpu_resource: str) -> str | None:
    labels = node["metadata"].get("labels", {})
    wrong = next((k for k, v in flavour.node_selector.items() if labels.get(k) != v), None)
    if wrong is not None:
        return f"label {wrong} is not {flavour.node_selector[wrong]}"
    if node.get("spec", {}).get("unschedulable") or not _ready(node):
        return "not ready, or cordoned"
    taint = next((t for t in _taints(node) if not any(_tolerates(u, t) for u in flavour.tolerations)), None)
    if taint is not None:
        return f"taint {taint['key']} is not tolerated"
    for resource, text in amounts(flavour, gpu_resource).items():
        has = quantity(_allocatable(node).get(resource, "0"))
        try:
            asked = quantity(text)
        except ValueError as error:
            return f"{resource}: {error}"
        if asked > has:
            unit = MIB if resource == "memory" else 1
            what = {"cpu": "cores", "memory": "MiB of memory"}.get(resource, resource)
            return f"{has / unit:.10g} {what} allocatable, {asked / unit:.10g} asked for"
    return None


def _allocatable(node: Object) -> Mapping[str, str]:
    allocatable: Mapping[str, str] = node.get("status", {}).get("allocatable", {})
    return allocatable


def _cores(node: Object) -> float:
    return quantity(_allocatable(node).get("cpu", "0"))


def _memory(node: Object) -> float:
    return quantity(_allocatable(node).get("memory", "0")) // MIB


def _gpus(node: Object, gpu_resource: str) -> int:
    return int(_allocatable(node).get(gpu_resource, "0"))


def _taints(node: Object) -> list[Object]:
    taints = node.get("spec", {}).get("taints", [])
    return [t for t in taints if t["effect"] != "PreferNoSchedule" and not t["key"].startswith(_PASSING)]


def _tolerates(toleration: Mapping[str, Any], taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def _ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _pool(node: Object) -> tuple[str, str] | None:
    labels = node["metadata"].get("labels", {})
    return next(((key, labels[key]) for key in POOL_LABELS if labels.get(key)), None)


def _kind(node: Object, gpu_resource: str) -> tuple[Any, ...]:
    memory = _memory(node)
    step = 2 ** max(0, int(memory).bit_length() - 5)
    taints = sorted((t["key"], t.get("value", ""), t["effect"]) for t in _taints(node))
    return (int(_cores(node)), round(memory / step), _gpus(node, gpu_resource), _pool(node), tuple(taints))


def _name(node: Object, gpu_resource: str) -> str:
    pool = _pool(node)
    if pool is not None:
        plain = re.sub(r"[^a-z0-9]+", "-", pool[1].lower()).strip("-")[:38].rstrip("-")
        return plain if plain[:1].isalpha() else f"n{plain}"
    gpus = _gpus(node, gpu_resource)
    return f"cpu{int(_cores(node))}{f'-gpu{gpus}' if gpus else ''}"


def _flavour(nodes: list[Object], gpu_resource: str) -> Flavour:
    least = min(map(_cores, nodes))
    cores = int(least)
    if all(_cores(n) == int(_cores(n)) for n in nodes):
        cores -= 1
    memory = min(map(_memory, nodes))
    pool = _pool(nodes[0])
    return Flavour(
        cores=max(1, cores),
        memory=max(1, int(max(memory / 2, min(memory * _SYSTEM_SHARE, memory - _SYSTEM_MEMORY)))),
        resources={"cpu": f"{max(1, int(1000 * least / 2))}m"} if cores < 1 else {},
        gpus=_gpus(nodes[0], gpu_resource),
        count=len(nodes),
        node_selector={pool[0]: pool[1]} if pool is not None else {},
        tolerations=[
            {"key": t["key"], "operator": "Equal", "value": t["value"], "effect": t["effect"]}
            if t.get("value")
            else {"key": t["key"], "operator": "Exists", "effect": t["effect"]}
            for t in _taints(nodes[0])
        ],
    )
