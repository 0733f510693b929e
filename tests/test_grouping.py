import pytest

from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.errors import UserErrors
from streamflow_fluxop.grouping import cheapest_flavour, group_steps
from streamflow_fluxop.model import Dependency, Duration, Needs, Step

FLAVOURS = {
    "cpu": {"cores": 4, "memory": 8192, "price": 1.0},
    "gpu": {"cores": 8, "memory": 32768, "gpus": 2, "price": 8.0},
}


def fleet(**more):
    return FleetConfig.model_validate({"cluster": "local", "flavours": FLAVOURS, **more}, strict=True)


def step(name, *after, needs=None, **more):
    return Step(
        name=name,
        needs=Needs(**(needs or {})),
        duration=Duration(seconds=1),
        after=[Dependency(step=a) for a in after],
        **more,
    )


def summary(groups):
    return {g.name: (g.flavour, g.size, g.steps) for g in groups}


def test_the_articles_workflow_makes_a_group_for_cpu_and_one_for_gpu():
    steps = [
        step("/preprocess", width=2),
        step("/postprocess", "/preprocess", width=2),
        step("/analysis", "/postprocess", width=2, needs={"gpus_per_task": 1}),
        step("/visualization", "/analysis", width=2),
    ]
    assert summary(group_steps(steps, fleet())) == {
        "cpu": ("cpu", 1, ("/preprocess", "/postprocess", "/visualization")),
        "gpu": ("gpu", 1, ("/analysis",)),
    }


def test_steps_with_different_images_do_not_share():
    steps = [step("/a", image="x"), step("/b", image="y"), step("/c", image="x")]
    groups = group_steps(steps, fleet(cluster="kubernetes"))
    assert summary(groups) == {"cpu": ("cpu", 1, ("/a", "/c")), "cpu-2": ("cpu", 1, ("/b",))}


def test_images_are_no_reason_for_miniclusters_where_they_are_containers_of_jobs():
    groups = group_steps([step("/a", container="x"), step("/b", container="y"), step("/c")], fleet(image="z"))
    assert summary(groups) == {"cpu": ("cpu", 1, ("/a", "/b", "/c"))}
    assert groups[0].image is None


def test_a_minicluster_is_as_large_as_its_busiest_level_can_use_within_the_limits():
    steps = [step("/a", width=9), step("/b", width=5), step("/c", "/a", "/b", width=30)]
    assert group_steps(steps, fleet())[0].size == 8
    assert group_steps(steps, fleet(limits={"nodes": 3}))[0].size == 3
    assert group_steps([step("/m", needs={"nodes": 3, "tasks": 3})], fleet())[0].size == 3


def test_a_binding_names_a_flavour_or_a_group():
    config = fleet(groups={"big": {"flavour": "gpu", "size": 2}})
    groups = group_steps([step("/a", binding="gpu"), step("/b", binding="big"), step("/c")], config)
    assert summary(groups) == {
        "gpu": ("gpu", 1, ("/a",)),
        "big": ("gpu", 2, ("/b",)),
        "cpu": ("cpu", 1, ("/c",)),
    }


def test_a_group_named_by_steps_has_the_cheapest_flavour_that_suits_all_of_them():
    steps = [step("/a", group="both"), step("/b", group="both", needs={"gpus_per_task": 1}), step("/c", binding="both")]
    assert summary(group_steps(steps, fleet())) == {"both": ("gpu", 1, ("/a", "/b", "/c"))}


def test_expression_tools_have_no_group():
    assert group_steps([step("/e", controller=True)], fleet()) == []


@pytest.mark.parametrize(
    ("steps", "config", "message"),
    [
        ([step("/a", needs={"cores_per_task": 9})], {}, "no flavour meets the needs of step /a: 9 cores"),
        ([step("/a", needs={"nodes": 5, "tasks": 5})], {"limits": {"nodes": 4}}, "cpu would need 5 nodes, the limits"),
        ([step("/a", binding="big")], {}, "service 'big' is neither a flavour nor a group"),
        ([step("/a", flavours=["huge"])], {}, "no flavour 'huge'"),
        (
            [step("/a", group="g", image="x"), step("/b", group="g", image="y")],
            {"cluster": "kubernetes"},
            "have different images: x, y",
        ),
        ([step("/a", flavours=["gpu"], binding="cpu")], {}, "no flavour is all of what is wanted: gpu; cpu"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(steps, config, message):
    with pytest.raises(UserErrors) as error:
        group_steps(steps, fleet(**config), {"/a": "wf.cwl:7: /a"})
    assert message in str(error.value)
    assert "wf.cwl:7: /a" in str(error.value)


def test_a_tie_in_price_goes_to_the_smaller_flavour():
    free = {name: {**flavour, "price": 0.0} for name, flavour in FLAVOURS.items()}
    config = FleetConfig.model_validate({"cluster": "local", "flavours": dict(reversed(free.items()))}, strict=True)
    assert cheapest_flavour(Needs(), config) == "cpu"
