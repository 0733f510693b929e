"""What somebody else's JavaScript can do while a workflow is read: nothing but compute."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from cwl_utils.errors import JavascriptException
from cwl_worlds import needs_node

from streamflow_fluxop.cwl import confined
from streamflow_fluxop.cwl.expressions import Expressions, expressions
from streamflow_fluxop.cwl.javascript import JavaScriptEngine
from streamflow_fluxop.cwl.known_values import UNKNOWN

pytestmark = needs_node

OUTSIDE = "globalThis.constructor.constructor('return process')()"


def value(text, library=()):
    with expressions() as evaluator:
        return evaluator.evaluate(text, {}, list(library))


@pytest.mark.parametrize(
    "text",
    [
        "$(process.env)",
        "$(require('fs').readFileSync('/etc/passwd', 'utf8'))",
        f"$({OUTSIDE}.env)",
        "$(eval('1'))",
        "$((new Function('return 1'))())",
        "$((function* () {}).constructor('yield 1')().next().value)",
        "${ return this.constructor.constructor('return 1')(); }",
        "${ try { null.x } catch (e) { return e.constructor.constructor('return 1')(); } }",
        "${ return fetch('http://127.0.0.1/'); }",
        "${ return new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) ? 1 : 2; }",
    ],
)
def test_there_is_nothing_of_node_and_no_code_is_made(text):
    assert value(text) is UNKNOWN


def test_only_what_ecmascript_has_is_there():
    names = value("$(['process', 'require', 'module', 'fetch', 'Buffer', 'setTimeout'].filter(n => n in globalThis))")
    assert names == []


def test_a_library_with_an_attack_makes_its_expressions_unknown():
    assert value("$(one())", ["function one() { return 1; }", "process.exit(0);"]) is UNKNOWN


def test_an_expression_cannot_change_the_next_one():
    with expressions() as evaluator:
        evaluator.evaluate(
            "${ Object.prototype.x = 1; JSON.stringify = () => '7'; Array.prototype.join = null; }", {}, []
        )
        assert evaluator.evaluate("$(({}).x === undefined)", {}, []) is True
        assert evaluator.evaluate("$([1, 2].join('-'))", {}, []) == "1-2"


@pytest.mark.parametrize(
    "text",
    [
        "${ while (true) {} }",
        "${ const a = []; for (;;) a.push([1, 2, 3]); }",
        "${ const a = []; for (;;) a.push(new Uint8Array(1e7).fill(1)); }",
        "$('x'.repeat(2 ** 28))",
        "${ let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return a; }",
        "${ const f = () => f(); return f(); }",
        "$(/(a+)+$/.test('a'.repeat(50) + 'b'))",
        "${ return {toJSON: () => { while (true) {} }}; }",
    ],
)
def test_too_much_time_and_too_much_memory_end_the_process_and_count_as_unknown(text):
    evaluator = Expressions(seconds=2.0)
    started = time.monotonic()
    assert evaluator.evaluate(text, {}, []) is UNKNOWN
    assert time.monotonic() - started < 10
    evaluator.close()


def test_after_an_expression_without_an_end_no_process_is_left():
    engine = JavaScriptEngine(seconds=5.0)
    assert engine.eval("(1)") == 1
    pid = engine.pid
    with pytest.raises(JavascriptException, match="takes too long"):
        engine.eval("{ while (true) {} }", timeout=0.3)
    assert engine.pid is None
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


def test_one_process_evaluates_all():
    engine = JavaScriptEngine(seconds=5.0)
    assert [engine.eval(f"({n} + 1)") for n in range(3)] == [1, 2, 3]
    assert engine.eval("('ü€😀' + '\\u0000')") == "ü€😀\0"
    pid = engine.pid
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


ATTEMPTS = """
const found = {};
const attempt = (name, action) => { try { action(); found[name] = "done"; } catch (e) { found[name] = "refused"; } };
const fs = require("fs");
attempt("read", () => fs.readFileSync(process.argv[1]));
attempt("list", () => fs.readdirSync("/"));
attempt("passwd", () => fs.readFileSync("/etc/passwd"));
attempt("write", () => fs.writeFileSync(process.argv[1], "x"));
attempt("make", () => fs.mkdirSync(process.argv[1] + "-folder"));
attempt("remove", () => fs.unlinkSync(process.argv[1]));
attempt("mode", () => fs.chmodSync(process.argv[1], 0));
attempt("start", () => { const { error } = require("child_process").spawnSync("/bin/true"); if (error) throw error; });
attempt("signal", () => process.kill(process.ppid, "SIGCONT"));
const told = () => { console.log(JSON.stringify(found)); process.exit(0); };
require("net").connect(Number(process.argv[2]), "127.0.0.1")
  .on("connect", () => { found.network = "done"; told(); })
  .on("error", () => { found.network = "refused"; told(); });
"""


def test_the_kernel_refuses_it_even_if_node_does_not(tmp_path):
    """As if a script had found a way around everything that Node and V8 have."""
    secret = tmp_path / "secret"
    secret.write_text("s")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-I", "-S", confined.__file__, "10", "/usr/bin/env", "true"],
            capture_output=True, text=True, check=True, env={},
        )  # fmt: skip
        assert done.stdout == "confined\n"
        done = subprocess.run(
            [sys.executable, "-I", "-S", confined.__file__, "10", node_path(), "-e", ATTEMPTS, str(secret), str(port)],
            capture_output=True, text=True, check=True, env={},
        )  # fmt: skip
    first, told = done.stdout.splitlines()
    assert first == "confined"
    assert set(json.loads(told).values()) == {"refused"}
    assert secret.read_text() == "s"


def node_path():
    from streamflow_fluxop.cwl.javascript import node

    return node()


def test_where_node_can_do_more_nothing_is_evaluated(monkeypatch, tmp_path, caplog):
    open_node = tmp_path / "node"
    open_node.write_text('#!/bin/sh\necho \'{"open": ["reads files"]}\'\ncat\n')
    open_node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("streamflow_fluxop.cwl.javascript.node", lambda: str(open_node))
    with expressions() as evaluator:
        assert evaluator.evaluate("$(1 + 1)", {}, []) is UNKNOWN
        assert evaluator.evaluate("$(2 + 2)", {}, []) is UNKNOWN
    assert len(caplog.records) <= 1


def test_system_calls_of_machines_that_nobody_knows_are_not_guessed():
    with pytest.raises(OSError, match="of sparc are not known"):
        confined.calls_filter("sparc")
    assert len(confined.calls_filter("aarch64")) % 8 == 0
