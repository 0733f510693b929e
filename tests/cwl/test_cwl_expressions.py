import time

import pytest
from cwl_worlds import needs_node

from streamflow_fluxop.cwl.expressions import Expressions, expressions
from streamflow_fluxop.cwl.values import UNKNOWN, from_document

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
        monkeypatch.setattr(evaluator, "_interpolate", None)
        assert evaluator.evaluate("$(inputs.n + 1)", {"n": 3, "other": 1}, []) == 4
