"""Where our check enters StreamFlow.

StreamFlow validates its file against a JSON Schema, and then runs: it has no extension point at which a plugin
sees the whole file before anything starts. So `SfValidator`, which every command of StreamFlow reads files
through, is extended here: our check comes first, as its messages name file, line and remedy, then StreamFlow's
own, in the same form, then what a deployment of type `minicluster` brings along (policy, docker translator,
workdir) is filled in.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

from streamflow.config.config import WorkflowConfig
from streamflow.config.validator import SfValidator
from streamflow.core.context import StreamFlowContext
from streamflow.core.exception import (
    UnrecoverableWorkflowException,
    WorkflowDefinitionException,
    WorkflowExecutionException,
)
from streamflow.log_handler import logger as streamflow_logger

from streamflow_fluxop.errors import STOPPED_AT_BUDGET, UserError, UserErrors
from streamflow_fluxop.printable import printable
from streamflow_fluxop.streamflow_plugin import signals
from streamflow_fluxop.streamflow_plugin.internals import execution_log

_file: ContextVar[str | None] = ContextVar("streamflow_file", default=None)
_ending = False
_stopped: str | None = None


class StoppedJob(UserError, UnrecoverableWorkflowException):
    """A job that was ended, or did not start, as the run stops at its budget: said once, at the end of the run."""


class _StoppedAtBudget(SystemExit):
    """Ends StreamFlow with an exit code of its own: it makes 1 of every other error."""

    def __init__(self, why: str) -> None:
        super().__init__(STOPPED_AT_BUDGET)
        self.why = why

    def __str__(self) -> str:
        return self.why


def check_before_run() -> None:
    """Extend StreamFlow's validator and its log; a second call changes nothing."""
    if hasattr(SfValidator.validate, "__wrapped__"):
        return
    SfValidator.validate_file = _remembering_file(SfValidator.validate_file)
    SfValidator.validate = _with_our_check(SfValidator.validate)
    WorkflowConfig.__init__ = _with_own_deployments(WorkflowConfig.__init__)
    StreamFlowContext.close = _ending_at_budget(StreamFlowContext.close)
    streamflow_logger.filters[:0] = [_without_traceback, _printable]  # before --color adds codes of its own
    streamflow_logger.addFilter(execution_log.when_it_executes)


def _remembering_file(validate_file: Any) -> Any:
    @functools.wraps(validate_file)
    def wrapper(self: SfValidator, streamflow_file: str) -> Any:
        from ruamel.yaml.error import YAMLError

        token = _file.set(streamflow_file)
        try:
            return validate_file(self, streamflow_file)
        except (OSError, YAMLError, UnicodeDecodeError):
            from streamflow_fluxop.cwl import read_streamflow_file

            read_streamflow_file(streamflow_file)  # says the same, with its line
            raise
        finally:
            _file.reset(token)

    return wrapper


def _with_our_check(validate: Any) -> Any:
    @functools.wraps(validate)
    def wrapper(self: SfValidator, streamflow_config: MutableMapping[str, Any]) -> Any:
        from streamflow_fluxop.streamflow_plugin.internals.current_job import tell_current_job
        from streamflow_fluxop.streamflow_plugin.internals.mends import mend_streamflow
        from streamflow_fluxop.streamflow_plugin.preflight import Preflight

        preflight = Preflight.of(streamflow_config, _file.get())
        if preflight is not None:  # else the file has nothing to do with us
            preflight.check_deployments()
        try:
            config = validate(self, streamflow_config)
        except (WorkflowDefinitionException, TypeError) as error:
            raise _explained(error, self, streamflow_config) from None
        if preflight is not None:
            preflight.complete()
            mend_streamflow()
            tell_current_job()
            signals.terminate_like_interrupt()
        return config

    return wrapper


def _with_own_deployments(init: Any) -> Any:
    """StreamFlow 0.2 writes into the file's deployments, and then refuses to read them for a second workflow."""

    @functools.wraps(init)
    def wrapper(self: WorkflowConfig, name: str, config: MutableMapping[str, Any]) -> None:
        sections = [key for key in ("deployments", "models") if config.get(key)]
        init(self, name, {**config, **{key: {n: dict(d) for n, d in config[key].items()} for key in sections}})

    return wrapper


def _explained(error: Exception, validator: SfValidator, config: Any) -> UserError:
    """What StreamFlow found wrong, with file, line and remedy."""
    from jsonschema.validators import validator_for

    from streamflow_fluxop.cwl import StreamFlowFile
    from streamflow_fluxop.streamflow_plugin.internals.schema_errors import explain_schema_errors

    file = StreamFlowFile.from_config(config, _file.get()).with_lines()
    schema = validator.schema.get_config("v1.0").contents
    errors = validator_for(schema)(schema, registry=validator.schema.registry).iter_errors(config)
    found = explain_schema_errors(errors, file.where)
    return UserErrors(found) if found else UserError(str(error), where=file.where("version"))


def run_is_ending() -> None:
    """From now on deployments go: a step that StreamFlow still schedules fails for no other reason."""
    global _ending
    _ending = True


def ending() -> bool:
    """Whether the run is about to end: what fails now may fail for no other reason."""
    return _ending or signals.ending()


def run_was_stopped(why: str) -> None:
    """The run ends as it has reached its budget: its exit code will say so."""
    global _stopped
    _stopped = why


def _ending_at_budget(close: Any) -> Any:
    """The last thing that a run does."""

    @functools.wraps(close)
    async def wrapper(self: StreamFlowContext) -> None:
        await close(self)
        if _stopped is not None and not signals.ending():
            raise _StoppedAtBudget(_stopped)

    return wrapper


def _without_traceback(record: logging.LogRecord) -> bool:
    """What a user can mend, and a step that failed, is shown as a message; a traceback is for defects and --debug."""
    error = record.exc_info[1] if record.exc_info else None
    over = ending()
    if (over and _says_nothing(error)) or isinstance(error or record.msg, StoppedJob):
        return False
    silent = error is not None and (over or _is_streamflow_s_message(error)) and not _debugging()
    if silent or isinstance(error, (UserError, _StoppedAtBudget)):
        record.msg, record.args, record.exc_info = _message(error), (), None
    return True


def _printable(record: logging.LogRecord) -> bool:
    """Show control characters of jobs and names as their codes."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def log_like_streamflow() -> None:
    """Our loggers write where StreamFlow's does, as --quiet and --debug say."""
    ours = logging.getLogger("streamflow_fluxop")
    ours.parent = streamflow_logger
    ours.setLevel(streamflow_logger.level)
    for handler in streamflow_logger.handlers:
        handler.addFilter(_printable_if_ours)


def _printable_if_ours(record: logging.LogRecord) -> bool:
    return _printable(record) if record.name.startswith("streamflow_fluxop") else True


def _says_nothing(error: BaseException | None) -> bool:
    """Of a job that was under way when the run ended: that it was cancelled, and that its deployment is gone."""
    return isinstance(error, asyncio.CancelledError) or str(error).startswith("Could not retrieve connector")


def _is_streamflow_s_message(error: BaseException | None) -> bool:
    return isinstance(error, (WorkflowDefinitionException, WorkflowExecutionException))


def _debugging() -> bool:
    return bool(streamflow_logger.isEnabledFor(logging.DEBUG))


def _message(error: BaseException | None) -> str:
    """The first in a chain of errors that says anything: StreamFlow raises some without a word `from` another."""
    while error is not None and not str(error) and error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
