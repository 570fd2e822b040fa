"""Base models: the ladder's decoders, the tokenizer, and models opened by name."""
