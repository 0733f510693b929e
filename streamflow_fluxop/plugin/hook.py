"""Where our check enters StreamFlow.

StreamFlow validates its file against a JSON Schema, and then runs: it has no extension point at which a plugin
sees the whole file before anything starts. So `SfValidator`, which every command of StreamFlow reads files
through, is extended here: our check comes first, as its messages name file, line and remedy, then StreamFlow's
own, then what a deployment of type `minicluster` brings along (policy, docker translator, workdir) is filled in.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

from streamflow.config.validator import SfValidator
from streamflow.log_handler import logger as streamflow_logger

from streamflow_fluxop.errors import UserError

_file: ContextVar[str | None] = ContextVar("streamflow_file", default=None)


def check_before_run() -> None:
    """Extend StreamFlow's validator and its log; a second call changes nothing."""
    if hasattr(SfValidator.validate, "__wrapped__"):
        return
    SfValidator.validate_file = _remembering_file(SfValidator.validate_file)
    SfValidator.validate = _with_our_check(SfValidator.validate)
    streamflow_logger.addFilter(_without_traceback)


def _remembering_file(validate_file: Any) -> Any:
    @functools.wraps(validate_file)
    def wrapper(self: SfValidator, streamflow_file: str) -> Any:
        token = _file.set(streamflow_file)
        try:
            return validate_file(self, streamflow_file)
        finally:
            _file.reset(token)

    return wrapper


def _with_our_check(validate: Any) -> Any:
    @functools.wraps(validate)
    def wrapper(self: SfValidator, streamflow_config: MutableMapping[str, Any]) -> Any:
        from streamflow_fluxop.plugin.preflight import Preflight

        preflight = Preflight.of(streamflow_config, _file.get())
        if preflight is None:  # the file has nothing to do with us
            return validate(self, streamflow_config)
        preflight.check_deployments()
        config = validate(self, streamflow_config)
        preflight.complete()
        return config

    return wrapper


def _without_traceback(record: logging.LogRecord) -> bool:
    """A user's mistake is shown as a message, not as a traceback of ours."""
    if record.exc_info and isinstance(record.exc_info[1], UserError):
        record.exc_info = None
    return True
