"""The solvers: what is minimised, the laws as they see them, profile, Newton steps, L-BFGS."""
