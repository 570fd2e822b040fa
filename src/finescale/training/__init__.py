"""Training: objectives, batches, optimisers and the one loop."""
