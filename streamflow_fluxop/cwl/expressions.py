"""CWL's parameter references and JavaScript expressions, evaluated before the run where the inputs settle them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.cwl.known_values import UNKNOWN

if TYPE_CHECKING:
    from streamflow_fluxop.cwl.javascript import JavaScriptEngine

_MEMBER = r"""\s*\.\s*[A-Za-z_$][\w$]*|\[\s*(?:'[^'\]]*'|"[^"\]]*")\s*\]"""
_ROOT = re.compile(rf"(?<![\w.$])(inputs|self|runtime)\b((?:{_MEMBER})*)(\s*[!=]==?\s*null\b)?")
_STEP = re.compile(r"""\.\s*([A-Za-z_$][\w$]*)|\[\s*(?:'([^'\]]*)'|"([^"\]]*)")\s*\]""")
_ROOTS = ("inputs", "self", "runtime", "null")
_IS_NULL = "=== null"
_MARK = "\0only the run tells"
_GUARD = """
(function () {
  const MARK = "\\u0000only the run tells";
  const unknown = () => {
    globalThis["\\u0000unknown was read"] = true;
    throw new Error("only the run tells");
  };
  const plain = (target, key, value) =>
    Reflect.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true });
  const opened = (target, key) => {
    Object.defineProperty(target, key, {
      configurable: true,
      enumerable: true,
      get: unknown,
      set: (value) => plain(target, key, value),
    });
  };
  const known = (target, key) => "value" in (Object.getOwnPropertyDescriptor(target, key) || {});
  const file = (target) => new Proxy(target, {
    get: (_, key) => key in target || typeof key !== "string" || key === "toJSON" ? target[key] : unknown(),
    set: (_, key, value) => plain(target, key, value),
    has: (_, key) => known(target, key) || unknown(),
    ownKeys: unknown,
    getOwnPropertyDescriptor: (_, key) =>
      known(target, key) ? Object.getOwnPropertyDescriptor(target, key) : unknown(),
  });
  const guarded = (value) => {
    if (!value || typeof value !== "object") return value;
    for (const key of Object.keys(value)) {
      if (value[key] === MARK) opened(value, key);
      else value[key] = guarded(value[key]);
    }
    return value.class === "File" || value.class === "Directory" ? file(value) : value;
  };
  inputs = guarded(inputs);
  if (typeof self !== "undefined") self = guarded(self);
  else opened(globalThis, "self");
  opened(globalThis, "runtime");
})();
"""
"""Notes when an expression reads what is unknown, and ends it there; whether a File is given it may ask."""

_REFERENCES_AT_MOST = 20_000
_SCRIPTS_AT_MOST = 100
_TRYING = 2.0
"""Seconds for an expression of which only is asked whether it fails."""


def is_expression(value: Any) -> bool:
    """Whether a CWL value is an expression, as StreamFlow tells them from plain strings."""
    return isinstance(value, str) and ("$(" in value or "${" in value)


@dataclass(frozen=True)
class _Result:
    """The value of an expression, UNKNOWN where there is none; why it has none, where that is sure."""

    value: Any
    failure: str | None = None


class Expressions:
    """Evaluates expressions, each with equal inputs once.

    JavaScript runs in node where node is on the PATH and can be kept from all but computing (`javascript`), never in a
    container; it stops after `seconds` altogether, and what isn't settled by then counts as unknown. Close it after
    use: it holds a process of node.

    Args:
        javascript: whether to evaluate JavaScript at all; parameter references always are.
        seconds: how long all JavaScript together may take.
    """

    def __init__(self, *, javascript: bool = True, seconds: float = 5.0) -> None:
        self._allowed = javascript
        self._seconds = self._patience = seconds
        self._engine: JavaScriptEngine | None = None
        self._done: dict[tuple[Any, ...], tuple[list[Any], _Result]] = {}
        self._references = self._scripts = 0

    def evaluate(self, text: Any, inputs: Mapping[str, Any], library: Sequence[str] | None, itself: Any = None) -> Any:
        """The value of an expression, or of a plain value, which is itself.

        Args:
            text: the expression.
            inputs: the values of the process's or step's inputs, as far as they are known.
            library: InlineJavascriptRequirement's `expressionLib`; None where that requirement is absent.
            itself: the value of `self`.

        Returns:
            The value; UNKNOWN where something that it reads is unknown or evaluating it fails, see `failure`.
        """
        return self._result(text, inputs, library, itself).value

    def failure(
        self, text: Any, inputs: Mapping[str, Any], library: Sequence[str] | None, itself: Any = None
    ) -> str | None:
        """Why an expression fails whatever the run will tell, in the words of what evaluates it; None where it may not.

        Args: see `evaluate`.
        """
        before, self._patience = self._patience, _TRYING
        try:
            return self._result(text, inputs, library, itself, anyway=True).failure
        finally:
            self._patience = before

    def _result(
        self,
        text: Any,
        inputs: Mapping[str, Any],
        library: Sequence[str] | None,
        itself: Any,
        *,
        anyway: bool = False,
    ) -> _Result:
        """What comes of an expression; with `anyway` it is tried although something that it reads is unknown."""
        if not is_expression(text):
            return _Result(text)
        chains = _chains(text)
        for part in library or ():
            chains += _chains(part)
        read = [_follow(chain, inputs, itself) for chain in chains]
        key = (text, tuple(library or ()), tuple(_identity(v) for v in read), anyway and _unknown_in(read))
        if key not in self._done:
            names = {chain[1] for chain in chains if chain[0] == "inputs" and len(chain) > 1}
            whole = any(chain == ("inputs",) for chain in chains)
            seen = {n: inputs[n] for n in inputs if whole or n in names}
            # keeping `read` alive keeps its ids unique
            self._done[key] = (read, self._found(text, seen, itself, library, anyway or not _unknown_in(read)))
        return self._done[key][1]

    def _found(
        self, text: str, inputs: Mapping[str, Any], itself: Any, library: Sequence[str] | None, possible: bool
    ) -> _Result:
        """What comes of an expression: of references alone where that is all it has, else of JavaScript."""
        result = _Result(UNKNOWN)
        if library is None or only_references(text):
            result = self._of_references(text, {"inputs": inputs, "self": itself})
            if result.failure is None or library is None:
                return result  # what fails as a reference, JavaScript may know: the length of a text
        return self._of_script(text, inputs, itself, library) if possible else result

    def _of_references(self, text: str, context: dict[str, Any]) -> _Result:
        if self._references >= _REFERENCES_AT_MOST:
            return _Result(UNKNOWN)
        self._references += 1
        return self._interpolated(text, context, fullJS=False)

    def _of_script(self, text: str, inputs: Mapping[str, Any], itself: Any, library: Sequence[str]) -> _Result:
        from cwl_utils.expression import jshead

        if not self._allowed or self._scripts >= _SCRIPTS_AT_MOST or self._seconds <= 0:
            return _Result(UNKNOWN)
        self._scripts += 1
        context = {"inputs": _marked(inputs)} | ({} if itself is UNKNOWN else {"self": _marked(itself)})
        started = time.monotonic()
        try:
            result = self._interpolated(text, context, fullJS=True, jslib=jshead(list(library), context) + _GUARD)
        finally:
            self._seconds -= time.monotonic() - started
        # a file that an expression makes up has the properties that the run gives it
        return _Result(UNKNOWN) if _holds_file(result.value) else result

    def _interpolated(self, text: str, context: dict[str, Any], **options: Any) -> _Result:
        from cwl_utils.errors import JavascriptException, SubstitutionError, WorkflowException
        from cwl_utils.expression import interpolate

        from streamflow_fluxop.cwl.javascript import OnlyTheRunTells, ScriptFailed

        patience = min(self._seconds, self._patience)
        try:
            value = interpolate(text, context, js_engine=self._javascript(), timeout=patience, **options)
        except (ScriptFailed, SubstitutionError, WorkflowException) as error:
            return _Result(UNKNOWN, str(error))
        except JavascriptException as error:
            return _Result(UNKNOWN, None if options["fullJS"] else str(error))
        except (OnlyTheRunTells, KeyError, TypeError, ValueError):
            # the last three: cwl-utils on a value that isn't what the expression takes it for, such as UNKNOWN
            return _Result(UNKNOWN)
        return _Result(value)

    def _javascript(self) -> JavaScriptEngine:
        if self._engine is None:
            from streamflow_fluxop.cwl.javascript import JavaScriptEngine

            self._engine = JavaScriptEngine(self._seconds)
        return self._engine

    def close(self) -> None:
        """End the process of node, if there is one."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


@contextmanager
def expressions(*, javascript: bool = True) -> Iterator[Expressions]:
    """An evaluator that is closed at the end; see `Expressions`."""
    evaluator = Expressions(javascript=javascript)
    try:
        yield evaluator
    finally:
        evaluator.close()


def only_references(text: str) -> bool:
    """Whether all of an expression's parts are parameter references (CWL 1.2, 3.4), which need no JavaScript."""
    from cwl_utils.sandboxjs import param_re

    parts = re.findall(r"\$(\([^()]*\))", text)
    matches = [param_re.match(p) for p in parts]
    return "${" not in text and len(parts) == text.count("$(") and all(m and m[1] in _ROOTS for m in matches)


@lru_cache(maxsize=1000)
def _chains(text: str) -> tuple[tuple[str, ...], ...]:
    """What an expression reads, such as `("inputs", "file", "size")` for `inputs.file.size`.

    A comparison with null, the commonest condition, reads less than the value: it ends in `_IS_NULL`.
    """
    chains = []
    for match in _ROOT.finditer(text):
        names = tuple("".join(name) for name in _STEP.findall(match[2]))
        chains.append((match[1], *names, _IS_NULL) if match[3] else (match[1], *names))
    return tuple(chains)


def _follow(chain: tuple[str, ...], inputs: Mapping[str, Any], itself: Any) -> Any:
    """The value at the end of a chain: of `inputs.file.size` that size and nothing else of `inputs`."""
    if chain[0] == "runtime":
        return UNKNOWN
    value = inputs if chain[0] == "inputs" else itself
    for name in chain[1:]:
        if name is _IS_NULL:
            return value if value is UNKNOWN else value is None
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name == "length":
            value = len(value)
        else:
            break
    return value


def _identity(value: Any) -> tuple[Any, ...]:
    """A key that equal scalars share, and lists and records only with themselves."""
    return (type(value), value if isinstance(value, str | int | float | bool) else id(value))


def _unknown_in(read: Sequence[Any]) -> bool:
    """Whether nothing at all is known of something that is read; of a File, it is known that it is there."""
    return any(value is UNKNOWN for value in read)


def _marked(value: Any) -> Any:
    """As JavaScript gets it: what is unknown is marked, for `_GUARD`."""
    if isinstance(value, Mapping):
        return {k: _marked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_marked(v) for v in value]
    return _MARK if value is UNKNOWN else value


def _holds_file(value: Any) -> bool:
    if isinstance(value, Mapping):
        return value.get("class") in ("File", "Directory") or any(_holds_file(v) for v in value.values())
    return isinstance(value, list) and any(_holds_file(v) for v in value)
