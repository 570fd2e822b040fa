"""From examples to batches of tokens: encoding, packing, attention over packed rows, objectives."""
