"""What a fleet says of results of past runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streamflow_fluxop.model import Document


class ReuseConfig(Document):
    """When a job of a past run counts as this run's, so that it is not run again."""

    enabled: bool = Field(True, description="Whether results of past runs are used.")
    check: Literal["content", "size-and-time"] = Field(
        "content",
        description="What says that a file is the same: its `content`, or only its size and time, for those that are "
        "too large to be read.",
    )
    record: bool = Field(True, description="Whether this run's results are kept for later ones.")
