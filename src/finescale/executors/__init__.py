"""Where runs are executed: worker processes of this machine, or a cluster."""
