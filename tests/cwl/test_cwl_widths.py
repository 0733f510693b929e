import pytest
from cwl_worlds import expression_tool, needs_node, step, tool, widths, workflow
from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop.cwl import read_workflow
from streamflow_fluxop.cwl.known_values import Port
from streamflow_fluxop.cwl.scatter import scatter

HINT = "fluxop:FluxRequirement"


def scattered(method, *, run=None, hints=None, **links):
    more = {"scatter": list(links), "scatterMethod": method, "hints": hints or {}}
    return step(run or tool(*links), more=more, **links)


@pytest.mark.parametrize(("method", "width"), [("dotproduct", 3), ("flat_crossproduct", 6), ("nested_crossproduct", 6)])
def test_inputs_settle_the_width_of_each_method(world, method, width):
    ys = [1, 2, 3] if method == "dotproduct" else [1, 2]
    a = world.read(workflow("xs ys", a=scattered(method, x="xs", y="ys")), xs=[1, 2, 3], ys=ys).steps["/a"]
    assert (a.jobs, a.jobs_source) == (width, "inputs")


@pytest.mark.parametrize("method", ["flat_crossproduct", "nested_crossproduct", "dotproduct"])
def test_the_width_goes_on_through_outputs(world, method):
    read = world.read(
        workflow(
            ("xs", "ys"),
            a=scattered(method, x="xs", y="ys"),
            b=scattered("dotproduct", x="a/o"),
            c=step(tool(), x="b/o"),
        ),
        xs=[1, 2],
        ys=[1, 2],
    )
    outer = {"flat_crossproduct": 4, "nested_crossproduct": 2, "dotproduct": 2}[method]
    assert widths(read)["/b"] == outer
    assert read.steps["/b"].jobs_source == "inputs"
    assert widths(read)["/c"] == 1


def test_widths_multiply_through_scattered_subworkflows(world):
    inner = workflow("x ys", a=step(tool(), x="x"), b=scattered("dotproduct", x="ys"))
    read = world.read(
        workflow("xs ys", sub=step(inner, out=(), x="xs", ys="ys", more={"scatter": "x"})), xs=[1, 2, 3], ys=[1, 2]
    )
    assert widths(read) == {"/sub/a": 3, "/sub/b": 6}


def test_each_inner_scatter_has_its_own_width(world):
    inner = workflow("xs", a=scattered("dotproduct", x="xs"))
    read = world.read(
        workflow("xss", sub=step(inner, out=(), xs="xss", more={"scatter": "xs"})), xss=[[1], [], [1, 2, 3]]
    )
    assert widths(read) == {"/sub/a": 4}


def test_defaults_of_workflow_step_and_tool_count(world):
    def of(wf_default=None, step_default=None, tool_default=None):
        inner = workflow(
            {"xs": {"type": "Any?", **({"default": tool_default} if tool_default else {})}},
            a=scattered("dotproduct", x="xs"),
        )
        link = {"source": "xs", **({"default": step_default} if step_default else {})}
        outer = {"xs": {"type": "Any?", **({"default": wf_default} if wf_default else {})}}
        return widths(world.read(workflow(outer, sub=step(inner, out=(), xs=link))))["/sub/a"]

    assert of(wf_default=[1, 2]) == 2
    assert of(step_default=[1, 2, 3]) == 3
    assert of(tool_default=[1, 2, 3, 4]) == 4
    assert of([1], [1, 2], [1, 2, 3]) == 1


def test_an_empty_or_absent_array_makes_no_job_and_no_minicluster(world):
    for inputs in ({"xs": []}, {}):
        found = world.read(workflow("xs?", a=scattered("dotproduct", x="xs")), **inputs).steps["/a"]
        assert found.jobs == 0
        assert found.step().controller
        assert found.step().duration.seconds == 0


def test_an_unknown_array_takes_the_hint_s_width(world):
    read = world.read(
        workflow(
            "x",
            a=step(tool(outputs={"o": "Any"}), x="x"),
            b=scattered("dotproduct", x="a/o", hints={HINT: {"width": 7}}),
        )
    )
    assert (read.steps["/b"].jobs, read.steps["/b"].jobs_source) == (7, "hint")


def test_inputs_that_tell_the_width_win_over_the_hint(world):
    a = world.read(workflow("xs", a=scattered("dotproduct", x="xs", hints={HINT: {"width": 7}})), xs=[1]).steps["/a"]
    assert (a.jobs, a.jobs_source) == (1, "inputs")


def test_a_width_does_not_go_on_to_the_scatters_inside(world):
    inner = workflow("x", b=step(tool(), x="x", more={"scatter": "x"}))
    read = world.read(
        workflow("xs", sub=step(inner, out=(), x="xs", more={"scatter": "x", "hints": {HINT: {"width": 5}}}))
    )
    assert (read.steps["/sub/b"].jobs, read.steps["/sub/b"].jobs_source) == (5, "assumed")


def test_what_nothing_tells_is_assumed_and_says_so(world):
    path = world.write("main.cwl", workflow("xs", a=scattered("dotproduct", x="xs")))
    assert read_workflow(path, assumed_width=12).steps["/a"].jobs == 12
    assert read_workflow(path).steps["/a"].step().width_source == "assumed"


def test_one_array_of_a_dotproduct_tells_the_length_of_the_others(world):
    a = world.read(workflow("xs ys", a=scattered("dotproduct", x="xs", y="ys")), ys=[1, 2]).steps["/a"]
    assert (a.jobs, a.jobs_source) == (2, "inputs")


@pytest.mark.parametrize(
    ("link", "width"),
    [
        ({"source": ["xs", "ys"]}, 2),
        ({"source": ["xs", "ys"], "linkMerge": "merge_flattened"}, 5),
        ({"source": ["none", "ys"], "pickValue": "first_non_null"}, 3),
        ({"source": ["none", "ys"], "pickValue": "the_only_non_null"}, 3),
        ({"source": ["none", "xs", "ys"], "pickValue": "all_non_null"}, 2),
        ({"source": ["xs"]}, 2),
        ({"source": ["xs"], "linkMerge": "merge_nested"}, 1),
        ({"source": "xs", "valueFrom": "$(self * 2)"}, 2),
    ],
)
def test_links_merge_and_pick_before_they_scatter(world, link, width):
    a = step(tool(), x=link, more={"scatter": "x"})
    read = world.read(workflow("xs ys none?", a=a), xs=[1, 2], ys=[1, 2, 3])
    assert (read.steps["/a"].jobs, read.steps["/a"].jobs_source) == (width, "inputs")


@needs_node
def test_an_expression_tool_is_evaluated_where_a_width_hangs_on_it(world):
    listing = expression_tool("${ var r = []; for (var i = 0; i < inputs.x; i++) r.push(i); return {o: r}; }")
    read = world.read(workflow("n", e=step(listing, x="n"), a=step(tool(), x="e/o", more={"scatter": "x"})), n=5)
    assert (read.steps["/a"].jobs, read.steps["/a"].jobs_source) == (5, "inputs")


def test_without_javascript_such_a_width_is_assumed(world):
    listing = expression_tool("${return {o: [1, 2]}}")
    path = world.write(
        "main.cwl", workflow("n", e=step(listing, x="n"), a=step(tool(), x="e/o", more={"scatter": "x"}))
    )
    assert read_workflow(path, javascript=False).steps["/a"].jobs_source == "assumed"


@needs_node
def test_jobs_whose_condition_is_false_do_not_count(world):
    a = step(tool(), x="xs", more={"scatter": "x", "when": "$(inputs.x > 1)"})
    read = world.read(workflow("xs", a=a, b=step(tool(), x="a/o", more={"scatter": "x"})), xs=[0, 1, 2, 3])
    assert widths(read) == {"/a": 2, "/b": 4}


def test_wide_scatters_are_read_in_no_time(world):
    steps = {f"s{i}": step(tool(), x=f"s{i - 1}/o" if i else "xs", more={"scatter": "x"}) for i in range(20)}
    assert set(widths(world.read(workflow("xs", **steps), xs=list(range(20_000)))).values()) == {20_000}


def test_a_crossproduct_of_hundreds_of_thousands_keeps_its_width_only(world):
    read = world.read(workflow("xs ys", a=scattered("flat_crossproduct", x="xs", y="ys")), xs=[1] * 1000, ys=[1] * 1000)
    assert widths(read) == {"/a": 1_000_000}


arrays = st.lists(st.integers(), max_size=4)


@given(batch=st.lists(st.tuples(arrays, arrays), max_size=3), method=st.sampled_from(["flat", "nested"]))
def test_a_crossproduct_pairs_every_element_with_every_other_and_is_gathered_in_its_shape(batch, method):
    ports = {"x": Port(lambda: [xs for xs, _ in batch]), "y": Port(lambda: [ys for _, ys in batch])}
    found = scatter(["x", "y"], f"{method}_crossproduct", ports, hint=None, assumed=1)
    jobs = found.spread(ports, frozenset())
    pairs = Port(lambda: list(zip(jobs["x"].values, jobs["y"].values, strict=True)))
    nested = [[[(x, y) for y in ys] for x in xs] for xs, ys in batch]
    flat = [[(x, y) for x in xs for y in ys] for xs, ys in batch]
    assert found.gather(pairs).values == (nested if method == "nested" else flat)
