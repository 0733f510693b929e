"""MiniClusters on a host behind SSH."""
