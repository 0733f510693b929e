"""What stands under `config` of a deployment of type `minicluster`."""
