"""What client and agent say to each other."""
