"""Writes what Snakemake says of its jobs in a dry run as JSON lines, to the file that FLUXOP_JOBS names.

A logger plugin, because their interface is the one that Snakemake keeps stable and versioned; its API for the DAG is
not. It runs in Snakemake's own environment, where nothing else of ours is installed: `sources.snakemake` puts this
folder on its path.
"""
# mypy: ignore-errors

import json
import os

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    """Notes each job."""

    def emit(self, record):
        """Write a line if the record is about a job."""
        if getattr(record, "event", None) != LogEvent.JOB_INFO:
            return
        resources = dict(record.resources.items()) if record.resources else {}
        job = {
            "id": record.jobid,
            "rule": record.rule_name,
            "threads": record.threads,
            "input": [str(f) for f in record.input or []],
            "output": [str(f) for f in record.output or []],
            "resources": {k: v for k, v in resources.items() if isinstance(v, int | float | str)},
            "checkpoint": bool(record.is_checkpoint),
        }
        with open(os.environ["FLUXOP_JOBS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(job) + "\n")

    @property
    def writes_to_stream(self):
        """It does not."""
        return False

    @property
    def writes_to_file(self):
        """Only to its own; Snakemake would announce it as its log."""
        return False

    @property
    def has_filter(self):
        """It sees every record."""
        return True

    @property
    def has_formatter(self):
        """It formats nothing."""
        return True

    @property
    def needs_rulegraph(self):
        """It does not."""
        return False
