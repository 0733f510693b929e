"""The agent that drives a MiniCluster from inside, and the client that talks to it.

``client`` (and ``boot``, ``stream``) run beside the workflow engine. The other modules are the agent: they travel as
source over the stream, so they know the standard library only (Python 3.8 and later) and each other.
``docs/agent-protocol.md`` describes what goes over the stream.
"""
