"""The agent itself: what answers the client, beside the scheduler."""
