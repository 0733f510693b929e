import time

import pytest
from cwl_worlds import needs_node, tool

from streamflow_fluxop.cwl.expressions import Expressions, expressions
from streamflow_fluxop.cwl.known_values import UNKNOWN, from_document
from streamflow_fluxop.errors import UserError

FILE = from_document({"class": "File", "location": "some/reads.fastq"}, "file:///")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        (7, 7),
        ("$(inputs.n)", 3),
        ("$(inputs['n'])", 3),
        ("n is $(inputs.n)", "n is 3"),
        ("$(inputs.list[1])", 20),
        ("$(inputs.files.length)", 2),
        ("$(inputs.file.nameroot)", "reads"),
        ("$(inputs.file.path)", UNKNOWN),
        ("$(inputs.gone)", UNKNOWN),
        ("$(inputs.unknown)", UNKNOWN),
        ("a $(inputs.unknown)", UNKNOWN),
        ("$(runtime.cores)", UNKNOWN),
    ],
)
def test_parameter_references_need_no_javascript(text, value):
    inputs = {"n": 3, "list": [10, 20], "files": [UNKNOWN, UNKNOWN], "file": FILE, "unknown": UNKNOWN}
    with expressions(javascript=False) as evaluator:
        assert evaluator.evaluate(text, inputs, None) == value


@needs_node
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(inputs.n + 1)", 4),
        ("${ return inputs.file.basename.length; }", 11),
        ("$(twice(inputs.n))", 6),
        ("$(inputs.file !== null)", True),
        ("$(inputs.unknown === null)", UNKNOWN),
        ("$(inputs.file.contents == 'x')", UNKNOWN),
        ("$(Object.keys(inputs).length)", 3),
        ("$(Object.values(inputs).length)", UNKNOWN),
        ("$(inputs.file == undefined)", False),
        ("$(inputs.file ? inputs.n : 0)", 3),
        ("$(typeof inputs.file)", "object"),
        ("$(inputs.file && inputs.file.path)", UNKNOWN),
        ("$(JSON.stringify(inputs.file))", UNKNOWN),
        ("$(runtime.cores * 2)", UNKNOWN),
        ("$(no.such.thing)", UNKNOWN),
        ("${ return {class: 'File', location: 'made'}; }", UNKNOWN),
        ("$(true)", True),
    ],
)
def test_javascript_is_evaluated_where_all_that_it_reads_is_known(text, value):
    with expressions() as evaluator:
        found = evaluator.evaluate(
            text, {"n": 3, "file": FILE, "unknown": UNKNOWN}, ["function twice(x) { return 2 * x; }"]
        )
    assert found == value


@needs_node
def test_what_the_library_reads_counts_too():
    library = ["function n() { return inputs.n + Object.values(inputs).length; }"]
    with expressions() as evaluator:
        assert evaluator.evaluate("$(n())", {"n": 3}, library) == 4
        assert evaluator.evaluate("$(n())", {"n": 3, "m": UNKNOWN}, library) is UNKNOWN


def test_javascript_without_its_requirement_is_unknown():
    with expressions() as evaluator:
        assert evaluator.evaluate("$(inputs.n + 1)", {"n": 3}, None) is UNKNOWN


@needs_node
def test_an_expression_without_an_end_is_given_up():
    evaluator = Expressions(seconds=0.5)
    started = time.monotonic()
    assert evaluator.evaluate("${ while (true) {} }", {}, []) is UNKNOWN
    assert evaluator.evaluate("${ return 1; }", {}, []) is UNKNOWN
    assert time.monotonic() - started < 5
    evaluator.close()


@needs_node
def test_equal_questions_are_evaluated_once(monkeypatch):
    with expressions() as evaluator:
        evaluator.evaluate("$(inputs.n + 1)", {"n": 3}, [])
        monkeypatch.setattr(evaluator, "_interpolated", None)
        assert evaluator.evaluate("$(inputs.n + 1)", {"n": 3, "other": 1}, []) == 4


@needs_node
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$(inputs.n.a.b)", "TypeError: Cannot read properties of undefined (reading 'b')"),
        ("$(gone(inputs.unknown))", "ReferenceError: gone is not defined"),
        ("$(inputs.unknown +)", "SyntaxError: Unexpected token ')'"),
        ("${ throw 'no such genome'; }", "no such genome"),
        ("${ const x = inputs.n; }", "it returns nothing"),
        ("$(inputs.gone)", "it returns nothing"),
        ("$(inputs.text.length)", None),
        ("$(inputs.unknown.a.b)", None),
        ("${ try { return inputs.file.path.x.y; } catch (e) { throw 'wrong'; } }", None),
        ("$(inputs.file.metadata.sample)", None),
        ("$(Object.keys(inputs.file)[20].length)", None),
        ("$('format' in inputs.file ? 1 : null.x)", None),
        ("$(inputs.file.hasOwnProperty('format') ? 1 : null.x)", None),
        ("${ inputs.file.basename = 'b'; inputs.file.size = 3; inputs.file.own = 4; return inputs.file.size; }", None),
        ("$(runtime.cores.x.y)", None),
        ("$(globalThis['runtime'].x.y)", None),
        ("${ while (true) {} }", None),
        ("${ const f = () => f(); return f(); }", None),
        ("$(eval('1'))", None),
    ],
)
def test_an_expression_fails_for_sure_only_where_no_run_could_evaluate_it(text, why):
    with expressions() as evaluator:
        assert evaluator.failure(text, {"n": 3, "text": "x", "file": FILE, "unknown": UNKNOWN}, []) == why


@pytest.mark.parametrize("text", ["$(inputs.gone)", "$(inputs.list[7])", "$(inputs.n + 1)", "$(inputs.n.x)", "$(in"])
def test_references_that_lead_nowhere_fail_without_javascript(text):
    with expressions(javascript=False) as evaluator:
        assert evaluator.failure(text, {"n": 3, "list": [1]}, None)


@pytest.mark.parametrize("text", ["$(inputs.file.metadata)", "$(inputs.unknown.x)", "$(runtime.cores)", "$(self.x)"])
def test_references_to_what_is_not_known_may_lead_somewhere(text):
    with expressions(javascript=False) as evaluator:
        assert evaluator.failure(text, {"file": FILE, "unknown": UNKNOWN}, None, UNKNOWN) is None


@pytest.mark.parametrize(
    ("script", "requirements", "part"),
    [
        ('set -e\nout="${HOME}/x"\n', {}, "${HOME}"),
        ("set -e\nls $(date)\n", {}, "$(date)"),
        pytest.param("set -e\nls ${HOME}\n", {"InlineJavascriptRequirement": {}}, "${HOME}", marks=needs_node),
    ],
)
def test_a_shell_s_variable_in_a_script_is_shown_with_how_to_write_it(world, script, requirements, part):
    listing = {"InitialWorkDirRequirement": {"listing": [{"entryname": "run.sh", "entry": script}]}}
    with pytest.raises(UserError) as refused:
        world.read(tool(requirements=listing | requirements))
    assert f"the expression {part} fails" in str(refused.value)
    assert f"What a shell is to see has a backslash before it: \\{part}." in str(refused.value)
    world.read(tool(requirements=_escaped(listing, part) | requirements))


def _escaped(listing, part):
    (entry,) = listing["InitialWorkDirRequirement"]["listing"]
    return {"InitialWorkDirRequirement": {"listing": [{**entry, "entry": entry["entry"].replace(part, f"\\{part}")}]}}


def test_a_reference_in_a_script_that_leads_nowhere_is_not_the_shell_s(world):
    listing = {
        "InitialWorkDirRequirement": {"listing": [{"entryname": "run.sh", "entry": "set -e\nls $(inputs.gone)\n"}]}
    }
    with pytest.raises(UserError, match="does not contain key 'gone'") as refused:
        world.read(tool(requirements=listing))
    assert "shell" not in str(refused.value)


def test_what_is_no_reference_is_said_whatever_quotes_it_has(world):
    listing = {"InitialWorkDirRequirement": {"listing": "${ return {'a': 1, 'b': inputs}; }"}}
    with pytest.raises(UserError, match=r"; } fails: it is no reference\n  Without an InlineJavascriptRequirement"):
        world.read(tool(requirements=listing))
