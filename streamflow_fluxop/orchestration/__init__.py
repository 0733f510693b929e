"""The fleet: all MiniClusters of one deployment, under one limit."""
