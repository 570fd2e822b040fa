"""Finetuning methods: each wraps a model and names its trainable parameters."""
