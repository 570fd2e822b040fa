"""Model ladders: a size name gives shapes, parameter counts and FLOPs (no torch, no memory).

The paper's decoder (Table 3): multi-query attention (one key-value head), gated feed-forward with a hidden
width of four times the model's, tied embeddings. The paper publishes neither the norm nor the gating; RMS
norm and a gated feed-forward fit its parameter counts (1B: 0.956B + 0.262B embeddings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PAPER_VOCABULARY = 128_000
NANO_VOCABULARY = 2_048
NANO_ZH_VOCABULARY = 4_096


@dataclass(frozen=True)
class Shape:
    """The shape of a decoder-only Transformer with multi-query attention and tied embeddings.

    Attributes:
        layers: Number of blocks.
        heads: Query heads; keys and values have one head.
        head_dim: Width of a head.
        vocabulary: Rows of the tied embedding.
    """

    layers: int
    heads: int
    head_dim: int
    vocabulary: int

    @property
    def width(self) -> int:
        """Model dimension (`heads` x `head_dim`, as in the paper's Table 3)."""
        return self.heads * self.head_dim

    @property
    def ffn(self) -> int:
        """Hidden width of the feed-forward block (4 x `width`, as in the paper's Table 3)."""
        return 4 * self.width

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """The seven weight matrices of a block: name to (outputs, inputs)."""
        return {
            "q_proj": (self.width, self.width),
            "k_proj": (self.head_dim, self.width),
            "v_proj": (self.head_dim, self.width),
            "o_proj": (self.width, self.width),
            "gate_proj": (self.ffn, self.width),
            "up_proj": (self.ffn, self.width),
            "down_proj": (self.width, self.ffn),
        }

    @property
    def embedding_params(self) -> int:
        """Parameters of the tied embedding."""
        return self.vocabulary * self.width

    @property
    def nonembedding_params(self) -> int:
        """Parameters without the embedding: matrices and norms."""
        block = sum(rows * columns for rows, columns in self.matrices.values()) + 2 * self.width
        return self.layers * block + self.width

    @property
    def params(self) -> int:
        """All parameters, embeddings included."""
        return self.embedding_params + self.nonembedding_params

    def lora_params(self, rank: int) -> int:
        """Parameters that LoRA of a rank trains on all seven matrices of every block."""
        return self.layers * sum(rank * (rows + columns) for rows, columns in self.matrices.values())

    def prompt_params(self, length: int) -> int:
        """Parameters of a soft prompt of a length (tokens)."""
        return length * self.width


LADDER: dict[str, Shape] = {
    "1b": Shape(16, 8, 256, PAPER_VOCABULARY),
    "2b": Shape(20, 10, 256, PAPER_VOCABULARY),
    "4b": Shape(24, 12, 256, PAPER_VOCABULARY),
    "8b": Shape(32, 16, 256, PAPER_VOCABULARY),
    "16b": Shape(40, 20, 256, PAPER_VOCABULARY),
    "nano-0.05m": Shape(3, 2, 16, NANO_VOCABULARY),
    "nano-0.1m": Shape(3, 3, 16, NANO_VOCABULARY),
    "nano-0.3m": Shape(3, 5, 16, NANO_VOCABULARY),
    "nano-1m": Shape(4, 8, 16, NANO_VOCABULARY),
    "nano-zh-0.05m": Shape(3, 2, 16, NANO_ZH_VOCABULARY),
    "nano-zh-0.1m": Shape(3, 3, 16, NANO_ZH_VOCABULARY),
    "nano-zh-0.3m": Shape(3, 5, 16, NANO_ZH_VOCABULARY),
}
"""The paper's Table 3, and the nano ladders (non-embedding sizes 0.046M, 0.10M, 0.28M and 0.93M).

A ladder has one tokenizer: English and Chinese (`nano-zh-`) have the same blocks under a larger embedding."""


def flops_per_parameter(kind: Literal["full", "pet"]) -> float:
    """Training FLOPs a parameter and token.

    Full tuning costs a forward and two backward products; PET spares those with the weights' gradients.
    """
    return 6.0 if kind == "full" else 4.0


def train_flops(
    kind: Literal["full", "pet"],
    nonembedding_params: int,
    embedding_params: int,
    tokens_processed: int,
    target_tokens: int,
) -> float:
    """Training FLOPs of a run; the output head is counted on target positions only.

    Args:
        kind: Full tuning (or pretraining), or any parameter-efficient method.
        nonembedding_params: Parameters of the blocks that a token goes through (of a mixture of experts the
            active ones).
        embedding_params: Parameters of the output head.
        tokens_processed: Tokens over all passes: source, target and prompt.
        target_tokens: Tokens with a loss over all passes.

    Returns:
        FLOPs.
    """
    each = nonembedding_params * tokens_processed + embedding_params * target_tokens
    return flops_per_parameter(kind) * each
