from __future__ import annotations

from typing import Any

import pytest

from streamflow_fluxop.miniclusters.kubernetes.nodes import fitting, flavours, quantity
from streamflow_fluxop.model import Flavour


def node(cpu: str = "8", memory: str = "32Gi", *, ready: bool = True, **more: Any) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": str(more["gpus"])} if "gpus" in more else {}
    return {
        "metadata": {"labels": more.get("labels", {})},
        "spec": {"taints": more.get("taints", []), "unschedulable": more.get("cordoned", False)},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, **gpus},
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def test_nodes_that_are_alike_become_one_flavour() -> None:
    assert flavours([node("7910m", "30Gi"), node("7910m", "29.9Gi")]) == {
        "cpu7": Flavour(cores=7, memory=27555, count=2),
    }


def test_pools_taints_and_gpus_become_selectors_tolerations_and_gpus() -> None:
    pool = {"cloud.google.com/gke-nodepool": "A100"}
    found = flavours([node(), node("12", "85Gi", gpus=1, labels=pool, taints=[GPU_TAINT])])
    assert list(found) == ["a100", "cpu8"]
    assert found["a100"].gpus == 1
    assert found["a100"].node_selector == pool
    assert found["a100"].tolerations == [{**GPU_TAINT, "operator": "Equal"}]


def test_nodes_that_take_no_pods_are_left_out() -> None:
    assert flavours([node(ready=False), node(cordoned=True)]) == {}


def test_every_flavour_that_is_made_fits_its_nodes() -> None:
    nodes = [node(), node("2", "4Gi"), node("4", gpus=2, taints=[GPU_TAINT])]
    for flavour in flavours(nodes).values():
        assert fitting(flavour, nodes)[0] >= 1


@pytest.mark.parametrize(
    ("flavour", "why"),
    [
        (Flavour(cores=16, memory=1024), "1 node: 8 cores allocatable, 16 asked for"),
        (Flavour(cores=1, memory=10**6), "1 node: 32768 MiB of memory allocatable, 1000000 asked for"),
        (Flavour(cores=1, memory=1, gpus=1), "1 node: 0 nvidia.com/gpu allocatable, 1 asked for"),
        (Flavour(cores=1, memory=1, node_selector={"pool": "big"}), "1 node: label pool is not big"),
    ],
)
def test_why_no_node_fits_is_said(flavour: Flavour, why: str) -> None:
    assert fitting(flavour, [node()]) == (0, [why])


def test_a_taint_needs_its_toleration() -> None:
    tainted = [node(taints=[GPU_TAINT])]
    assert fitting(Flavour(cores=1, memory=1), tainted) == (0, ["1 node: taint nvidia.com/gpu is not tolerated"])
    tolerant = Flavour(cores=1, memory=1, tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}])
    assert fitting(tolerant, tainted) == (1, [])


def test_quantities_are_read_as_kubernetes_writes_them() -> None:
    assert [quantity(q) for q in ("1930m", "4", "15Gi", "1500Ki", "2G", "1e3")] == [
        1.93, 4, 15 * 2**30, 1500 * 2**10, 2e9, 1000,
    ]  # fmt: skip
