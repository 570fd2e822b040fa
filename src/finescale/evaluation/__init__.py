"""Evaluation: loss on target tokens, greedy decoding."""
