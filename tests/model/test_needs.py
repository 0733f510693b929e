import pytest
from pydantic import ValidationError

from streamflow_fluxop.model import Flavour, Limits, Needs

CPU = Flavour(cores=8, memory=16384)
GPU = Flavour(cores=16, memory=65536, gpus=4)


@pytest.mark.parametrize(
    ("needs", "flavour", "nodes"),
    [
        (Needs(), CPU, 1),
        (Needs(tasks=9), CPU, 2),
        (Needs(tasks=9, cores_per_task=4), CPU, 5),
        (Needs(cores_per_task=9), CPU, None),
        (Needs(gpus_per_task=1), CPU, None),
        (Needs(tasks=8, gpus_per_task=1), GPU, 2),
        (Needs(nodes=3, tasks=3), CPU, 3),
        (Needs(nodes=2, tasks=18), CPU, None),
        (Needs(memory=16384), CPU, 1),
        (Needs(memory=16385), CPU, None),
        (Needs(tasks=4, memory=32768), CPU, 2),
    ],
)
def test_a_job_occupies_as_few_nodes_as_its_tasks_fit_on(needs, flavour, nodes):
    assert needs.nodes_on(flavour) == nodes


def test_the_tightest_limit_counts():
    assert Limits().nodes_of(CPU) is None
    assert Limits(nodes=5, cores=20).nodes_of(CPU) == 2
    assert Limits(gpus=0).nodes_of(CPU) is None
    assert Limits(gpus=0).nodes_of(GPU) == 0
    assert Limits(cost_per_hour=3.0).nodes_of(CPU.model_copy(update={"price": 1.0})) == 3
    assert Limits().nodes_of(CPU.model_copy(update={"count": 7})) == 7


def test_documents_refuse_unknown_keys():
    with pytest.raises(ValidationError, match="coresPerTask"):
        Needs.model_validate({"coresPerTask": 2})
