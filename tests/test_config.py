import json
from importlib.resources import files

import pytest
from pydantic import ValidationError

from streamflow_fluxop.config.fleet import FleetConfig, connector_schema

CPU = {"cores": 4, "memory": 8192}


def config(**more):
    return FleetConfig.model_validate({"cluster": "local", "flavours": {"cpu": CPU}, **more}, strict=True)


def test_the_published_schema_is_that_of_the_model():
    published = files("streamflow_fluxop").joinpath("schemas", "connector.json").read_text()
    assert json.loads(published) == connector_schema(), "python -m streamflow_fluxop.config.fleet > …/connector.json"


def test_the_controller_sees_the_storage_of_local_miniclusters_unless_told_otherwise():
    assert config().controller_sees_storage
    assert not config(storage={"controller": False}).controller_sees_storage
    assert not config(cluster="kubernetes").controller_sees_storage


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cluster": "slurm"}, "'local', 'kubernetes' or 'ssh'"),
        ({"flavours": {}}, "at least 1 item"),
        ({"flavours": {"cpu": {"cores": 4}}}, "Field required"),
        ({"flavours": {"cpu": {**CPU, "cores": "4"}}}, "valid integer"),
        ({"flavours": {"cpu": {**CPU, "cpus": 4}}}, "Extra inputs are not permitted"),
        ({"flavours": {"Cpu_1": CPU}}, "match pattern"),
        ({"limits": {"cores": 2}}, "the limits allow no node of flavour 'cpu'"),
        ({"groups": {"big": {"flavour": "gpu"}}}, "the flavours are cpu"),
        ({"groups": {"cpu": {"flavour": "cpu"}}}, "is the name of a flavour and of a group"),
        ({"groups": {"big": {"flavour": "cpu", "size": 3}}, "limits": {"nodes": 2}}, "but the limits allow 2 cpu"),
        ({"storage": {"path": "relative"}}, "match pattern"),
    ],
)
def test_wrong_configurations_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        config(**wrong)
