"""Where runs are executed: worker processes of this machine, Ray, SLURM."""
