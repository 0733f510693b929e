"""The client: sends the agent to where a stream leads, and talks to it."""
