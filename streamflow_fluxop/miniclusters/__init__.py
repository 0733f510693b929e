"""One MiniCluster's life, from bring-up to tear-down."""
