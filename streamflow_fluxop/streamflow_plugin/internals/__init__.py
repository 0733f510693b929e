"""Everything that relies on what StreamFlow is like inside; docs/development/streamflow-internals.md lists it."""
