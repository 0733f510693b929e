"""What pictures show: every MiniCluster from asked for to gone, every step inside, the use of the limit."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from streamflow_fluxop.miniclusters.kubernetes.manifests import manifest, manifests, object_name
from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Needs, Problem, Step, Workflow
from streamflow_fluxop.planning import solve
from streamflow_fluxop.report import figure, tables, units
from streamflow_fluxop.report.chart import LimitUse, chart
from streamflow_fluxop.report.names import short_names
from streamflow_fluxop.report.page import page
from streamflow_fluxop.report.tables import NoPlan
from streamflow_fluxop.report.terminal import ASCII, gantt
from streamflow_fluxop.sources import read

CPU = Flavour(cores=4, memory=8192, price=1, bring_up=60, tear_down=30)


@pytest.fixture(scope="module")
def plan():
    (source,) = read(workflow=Path(__file__).parents[2] / "docs/examples/article.yml")
    return solve(source.problem, time_limit=0.5)


@pytest.fixture(scope="module")
def article(plan):
    return chart(plan)


@pytest.fixture(scope="module")
def crowd():
    """Hundreds of steps side by side in few MiniClusters."""
    steps = [Step(name=f"sort_{i:03}", duration=Duration(seconds=50 + i), needs=Needs(memory=10)) for i in range(300)]
    steps += [Step(name="end", duration=Duration(seconds=9), after=[Dependency(step=s.name) for s in steps])]
    problem = Problem(workflow=Workflow(steps=steps), flavours={"cpu": CPU}, limits=Limits(nodes=5))
    return chart(solve(problem, strategy="by-level"))


def lines(chart, width=80, **options):
    return gantt(chart, width, **{"colours": False, **options}).plain.splitlines()


def test_the_terminal_shows_every_minicluster_with_its_steps(article):
    text = "\n".join(lines(article))
    for name in ("cpu-1", "cpu-2", "gpu-1", "preprocess", "analysis ×2", "coming up", "going down"):  # noqa: RUF001
        assert name in text
    bar = next(line for line in lines(article) if line.startswith("cpu-1"))
    assert re.fullmatch(r"cpu-1  2 . cpu ░+├─*preprocess.*┤├─*[a-z ×2]+─*┤▒+", bar)  # noqa: RUF001


def test_labels_that_do_not_fit_are_letters_that_the_legend_explains(article):
    short = lines(article, 44)
    assert any(re.search(r"├─*a─*┤", line) for line in short)
    assert re.search(r"a = \w+", "\n".join(short))


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("world", ["article", "crowd"])
def test_no_line_is_wider_than_the_terminal(width, world, request):
    assert max(map(len, lines(request.getfixturevalue(world), width))) <= width


def test_the_limit_line_is_above_its_use(article):
    text = lines(article)
    assert text[0].startswith("limit 4 nodes")
    use = text[1:5]
    assert "█" in use[0], "four nodes are held for a moment"
    assert use[3].count("█") > use[0].count("█")


def test_sixteen_colours_are_enough_and_none_will_do(article, capsys):
    console = Console(force_terminal=True, color_system="standard", width=80)
    console.print(gantt(article, 80, colours=True))
    colours = re.findall(r"\x1b\[([0-9;]+)m", capsys.readouterr().out)
    assert colours
    assert not any(part in ("38", "48") for code in colours for part in code.split(";")), "more than 16 colours"
    assert "\n".join(lines(article, glyphs=ASCII)).isascii()


def test_long_names_stay_on_their_lines_and_keep_their_ends(capsys):
    steps = [
        Step(name=f"wrapper_siftSTFByMisfit_{i:08}", image="quay.io/bio/containers:1.17", duration=Duration(seconds=50))
        for i in range(3)
    ]
    made = solve(Problem(workflow=Workflow(steps=steps), flavours={"cpu": CPU}), strategy="per-step")
    console = Console(width=80)
    console.print(tables.miniclusters(made), tables.steps(made))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for end in ("00000", "00001", "00002"):
        assert len(re.findall(rf"wrapp\w*…\w*{end}\b", text)) == 2, "once a table, in one piece"
    assert re.search(r"con\w*…\w*:?1\.17", text)
    console = Console(width=300)
    console.print(tables.miniclusters(made), tables.steps(made))
    assert capsys.readouterr().out.count("wrapper_siftSTFByMisfit_00000002") == 2


def test_where_too_much_runs_at_once_the_number_of_jobs_is_drawn(crowd):
    text = "\n".join(lines(crowd))
    assert re.search(r"\d+ steps, up to \d+ jobs at once", text)


def test_use_counts_from_asked_for_to_gone(article):
    use = article.use
    assert (use.resource, use.limit, use.peak) == ("nodes", 4, 4)
    assert use.steps[0] == (0, 2)
    assert use.steps[-1] == (article.end, 0)
    assert use.most_between(910, 920) == 4


def test_before_anything_is_asked_for_nothing_is_in_use():
    assert LimitUse("nodes", 4, ()).most_between(0, 10) == 0


def test_svg_and_png_are_the_same_each_time(article):
    assert figure.svg([article], "x") == figure.svg([article], "x")
    assert figure.png([article], "x") == figure.png([article], "x")


def test_every_part_with_a_tip_is_in_the_picture(article, crowd):
    for world in (article, crowd):
        ids = re.findall(r'id="tip-(\d+)"', figure.svg([world], ""))
        assert sorted(map(int, ids)) == list(range(len(figure.tips([world]))))


def test_the_page_needs_nothing_else(plan):
    text = page(plan, "a <title> & more", [NoPlan("single", "no flavour has a GPU")])
    assert "a &lt;title&gt; &amp; more" in text
    assert "single: no flavour has a GPU" in text
    loads = re.findall(r'(?:src|href)="([^"#]+)', text) + re.findall(r"url\((?!#)([^)]*)", text)
    assert loads == []
    for name in ("preprocess", "gpu-1", "optimal" if plan.optimal else "of the best"):
        assert name in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.25, "0.25 s"), (59, "59 s"), (60, "1 min"), (90, "1 min 30 s"), (2520, "42 min"),
     (7199.9, "2 h"), (11100, "3 h 5 min"), (200000, "2 d 8 h")],
)  # fmt: skip
def test_durations_in_words(seconds, words):
    assert units.duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (24720, "24 720"), (0.018888, "0.0189"), (8.8666, "8.87"), (1234567.8, "1 234 568")]
)
def test_numbers_in_words(value, words):
    assert units.number(value) == words


@pytest.mark.parametrize("end", [0.004, 1, 13, 59, 61, 2580, 8640, 90000, 900000, 1e8])
def test_an_axis_has_a_few_ticks_in_one_unit(end):
    marks = units.ticks(end, 6)
    assert 2 <= len(marks) <= 7
    assert marks[0] == (0, "0")
    assert len({label.split()[-1] for _, label in marks[1:]}) == 1


def test_names_are_as_short_as_they_are_clear():
    names = short_names(["/a/sort", "/b/sort", "/b/plot", "NF:SAREK:INDEX", "/"])
    assert list(names.values()) == ["a/sort", "b/sort", "plot", "INDEX", "/"]


def test_a_manifest_asks_for_whole_nodes_of_the_flavour(plan):
    made = dict(manifests(plan))
    assert list(made) == [m.name for m in plan.miniclusters]
    gpu = next(m for m in plan.miniclusters if m.flavour == "gpu")
    flavour = plan.problem.flavours["gpu"].model_copy(
        update={"node_selector": {"kind": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    )
    spec = manifest(gpu.model_copy(update={"image": "cuda:12", "max_size": 5}), flavour, "wf")["spec"]
    assert (spec["size"], spec["maxSize"], spec["interactive"]) == (2, 5, True)
    (container,) = spec["containers"]
    assert container["image"] == "cuda:12"
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "16384Mi", "nvidia.com/gpu": "1"}
    assert spec["pod"]["nodeSelector"] == {"kind": "gpu"}
    assert spec["pod"]["tolerations"] == [{"key": "gpu", "operator": "Exists"}]


def test_names_are_what_kubernetes_takes_and_stay_apart():
    assert object_name("article-cpu-1") == "article-cpu-1"
    odd = [object_name(name) for name in ("My Workflow-cpu", "My_Workflow-cpu", "x" * 90, "x" * 91, "9 lives")]
    assert len(set(odd)) == len(odd)
    assert all(re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name) for name in odd)
