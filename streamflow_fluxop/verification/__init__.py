"""Checks plans against their problems. It knows the documents only, nothing of how plans are made."""

from streamflow_fluxop.verification.verify import verify

__all__ = ["verify"]
