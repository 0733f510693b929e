"""Mend: values reach commands as they are.

StreamFlow 0.2.0rc3 (`cwl/translator.py`, `_get_command_token_processor_from_input`) does not quote the items of
arrays and the fields of records: `x y` becomes two words, a quote ends the run, and under
ShellCommandRequirement a value such as `a; touch f` is run by the shell. Here the words of a command are made by
`cwl.command_line`, each of them quoted unless the tool says `shellQuote: false` under ShellCommandRequirement.
"""

from __future__ import annotations

import copy
import functools
import shlex
from collections.abc import Iterator, MutableMapping
from typing import Any

import cwl_utils.parser
import cwl_utils.types
from cwl_utils.parser import cwl_v1_2
from streamflow.core.exception import WorkflowExecutionException
from streamflow.core.persistence import Database, DatabaseLoadingContext
from streamflow.core.workflow import CommandOptions, CommandToken, CommandTokenProcessor, Token
from streamflow.cwl import translator, utils
from streamflow.cwl.command import CWLCommand, CWLCommandOptions

from streamflow_fluxop.cwl.command_line import command_line
from streamflow_fluxop.cwl.types import plain, plain_binding
from streamflow_fluxop.streamflow_plugin.internals.mends import Mend


class CommandLine(CommandTokenProcessor):
    """All words of a tool's command line but those of `baseCommand`.

    Args:
        arguments: of the tool, as JSON.
        inputs: of the tool, as JSON: `name`, `type`, `inputBinding`.
        shell: whether a shell reads the words, so that `shellQuote` counts.
    """

    def __init__(self, arguments: list[Any], inputs: list[dict[str, Any]], shell: bool) -> None:
        super().__init__(None)
        self.arguments = arguments
        self.inputs = inputs
        self.shell = shell

    def bind(self, token: Token | None, position: int | None, options: CommandOptions) -> CommandToken:
        """The words, quoted for a shell.

        Args:
            token: not used, as this stands for no input.
            position: not used.
            options: has the inputs' values.

        Raises:
            WorkflowExecutionException: the tool's bindings and these values give no command line.
        """
        assert isinstance(options, CWLCommandOptions)

        def evaluate(expression: str, value: Any) -> Any:
            return utils.eval_expression(
                expression=expression,
                context=options.context | cwl_utils.types.CWLParameterContext(self=value),
                full_js=options.full_js,
                expression_lib=options.expression_lib,
            )

        try:
            words = command_line(self.arguments, self.inputs, options.context["inputs"], evaluate)
        except ValueError as error:
            raise WorkflowExecutionException(str(error)) from None
        quoted = [word.text if self.shell and word.raw else shlex.quote(word.text) for word in words]
        return CommandToken(name=None, position=0, value=quoted)

    def check_type(self, token: Token) -> bool:
        """Never asked: this stands for no input."""
        return True

    @classmethod
    async def _load(cls, row: MutableMapping[str, Any], loading_context: DatabaseLoadingContext) -> CommandLine:
        return cls(row["arguments"], row["inputs"], row["shell"])

    async def _save_additional_params(self, database: Database) -> MutableMapping[str, Any]:
        return {"arguments": self.arguments, "inputs": self.inputs, "shell": self.shell}


def _is_needed() -> bool:
    """Whether StreamFlow splits, joins or runs any of some awkward values."""
    return any(_words_of(tool, values) != words for tool, values, words in _trials())


def _apply() -> None:
    original = translator._create_command

    @functools.wraps(original)
    def create_command(
        cwl_element: cwl_utils.parser.CommandLineTool,
        cwl_name_prefix: str,
        schema_def_types: MutableMapping[str, Any],
        context: MutableMapping[str, Any],
        step: Any,
    ) -> CWLCommand:
        bare = copy.copy(cwl_element)
        bare.inputs, bare.arguments = [], []
        command = original(bare, cwl_name_prefix, schema_def_types, context, step)
        inputs = [
            {
                "name": utils.get_name("", cwl_name_prefix, port.id),
                "type": plain(port.type_, schema_def_types),
                "inputBinding": plain_binding(port.inputBinding),
            }
            for port in cwl_element.inputs
        ]
        arguments = [a if isinstance(a, str) else plain_binding(a) for a in cwl_element.arguments or []]
        command.processors = [CommandLine(arguments, inputs, command.is_shell_command)]
        return command

    translator._create_command = create_command


MEND = Mend("values in arrays and records reach commands as they are", "0.2.0rc3", _is_needed, _apply)


# what StreamFlow is tried with


def _trials() -> Iterator[tuple[cwl_v1_2.CommandLineTool, dict[str, Any], list[str]]]:
    """Tools, values of their inputs `x`, and the words that CWL wants, as a shell reads them."""
    awkward = ["x y", "a;b", "'", "", "$HOME"]
    for shell in (False, True):
        for binding in ({}, {"prefix": "-p"}):
            words = [*binding.values(), *awkward]
            yield _tool(_strings(), binding, shell), {"x": awkward}, words
        record = cwl_v1_2.CommandInputRecordSchema(
            type_="record",
            name="#r",
            fields=[_field("#r/s", "string"), _field("#r/a", _strings())],
        )
        yield _tool(record, None, shell), {"x": {"s": "p q", "a": awkward}}, [*awkward, "p q"]
        each = _strings(cwl_v1_2.CommandLineBinding(prefix="-p", separate=False))
        yield _tool(each, {}, shell), {"x": awkward}, [f"-p{text}" for text in awkward]


def _strings(binding: Any = None) -> cwl_v1_2.CommandInputArraySchema:
    return cwl_v1_2.CommandInputArraySchema(items="string", type_="array", inputBinding=binding)


def _field(name: str, kind: Any) -> cwl_v1_2.CommandInputRecordField:
    return cwl_v1_2.CommandInputRecordField(name=name, type_=kind, inputBinding=cwl_v1_2.CommandLineBinding())


def _tool(kind: Any, binding: dict[str, Any] | None, shell: bool) -> cwl_v1_2.CommandLineTool:
    bound = None if binding is None else cwl_v1_2.CommandLineBinding(**binding)
    port = cwl_v1_2.CommandInputParameter(id="file:///tool#x", type_=kind, inputBinding=bound)
    requirements = [cwl_v1_2.ShellCommandRequirement()] if shell else []
    return cwl_v1_2.CommandLineTool(id="file:///tool", inputs=[port], outputs=[], requirements=requirements)


def _words_of(tool: cwl_v1_2.CommandLineTool, values: dict[str, Any]) -> list[str] | None:
    """What StreamFlow makes of a tool and values; None where that is no command line."""
    context = {"hints": {}, "requirements": {r.class_: r for r in tool.requirements}}
    command = translator._create_command(tool, "/", {}, context, None)
    tokens = {name: _token(value) for name, value in values.items()}
    given = utils.build_context(inputs=tokens)
    try:
        return shlex.split(" ".join(command._get_executable_command(given, tokens)))
    except ValueError:
        return None


def _token(value: Any) -> Token:
    from streamflow.workflow.token import ListToken, ObjectToken

    if isinstance(value, list):
        return ListToken([_token(v) for v in value])
    if isinstance(value, dict):
        return ObjectToken({k: _token(v) for k, v in value.items()})
    return Token(value)
