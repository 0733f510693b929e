"""What the fleet decides: events in, instructions out, without I/O."""
