"""Evaluation: loss on target tokens."""
