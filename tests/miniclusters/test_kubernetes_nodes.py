from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from streamflow_fluxop.miniclusters.kubernetes.nodes import fitting, flavours
from streamflow_fluxop.miniclusters.kubernetes.quantities import exceeds, quantity, times
from streamflow_fluxop.model import Flavour

EXAMPLES = Path(__file__).parents[2] / "cwl-examples"


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
    nodes = [node(), node("2", "4Gi"), node("4", gpus=2, taints=[GPU_TAINT]), node("1", "1Gi"), node("940m", "600Mi")]
    found = flavours(nodes)
    assert len(found) == len(nodes)
    for flavour in found.values():
        assert fitting(flavour, nodes)[0] >= 1


@pytest.mark.parametrize(("cpu", "asked"), [("1", "500m"), ("940m", "470m"), ("0.5", "250m")])
def test_on_a_node_of_a_core_or_less_a_pod_asks_for_half_of_it(cpu: str, asked: str) -> None:
    (flavour,) = flavours([node(cpu, "1Gi")]).values()
    assert (flavour.cores, flavour.memory, flavour.resources) == (1, 768, {"cpu": asked})


def test_a_pod_asks_for_what_the_resources_of_its_flavour_say() -> None:
    small = Flavour(cores=16, memory=1024, resources={"cpu": "500m"})
    assert fitting(small, [node()]) == (1, [])
    more = Flavour(cores=1, memory=1024, resources={"rdma/hca": "1", "cpu": "9"})
    assert fitting(more, [node()]) == (0, ["1 node: 8 cores allocatable, 9 asked for"])
    other = Flavour(cores=1, memory=1024, resources={"rdma/hca": "1"})
    assert fitting(other, [node()]) == (0, ["1 node: 0 rdma/hca allocatable, 1 asked for"])
    wrong = Flavour(cores=1, memory=1024, resources={"cpu": "two"})
    assert fitting(wrong, [node()]) == (0, ["1 node: cpu: 'two' is no quantity"])


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*/kubernetes.yml")), ids=lambda path: path.parent.name)
def test_the_examples_fit_on_small_nodes(example: Path) -> None:
    config = yaml.safe_load(example.read_text())["deployments"]["fleet"]["config"]
    for flavour in config["flavours"].values():
        assert flavour["price"] > 0
        assert fitting(Flavour(**flavour), [node("1930m", "3500Mi", gpus=1)]) == (1, [])


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
    assert [quantity(q) for q in ("1930m", "4", "15Gi", "1500Ki", "2G", "1e3", ".5", "1E")] == [
        1.93, 4, 15 * 2**30, 1500 * 2**10, 2e9, 1000, 0.5, 1e18,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="'4 cores' is no quantity"):
        quantity("4 cores")


def test_quantities_are_multiplied_and_compared() -> None:
    assert [times(q, 3) for q in ("250m", "1Gi", "0.5", "2", "1e3")] == ["750m", "3Gi", "1.5", "6", "3000"]
    assert exceeds("cpu=4,memory=1Gi", "cpu=3500m,memory=8Gi")
    assert not exceeds("cpu=4,pods=1", "cpu=4")
