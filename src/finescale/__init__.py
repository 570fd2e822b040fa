"""finescale: which finetuning method, which model size and how much data - with intervals."""

__version__ = "0.1.0"
