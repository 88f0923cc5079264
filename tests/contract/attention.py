"""Attention, and the blocks that are built around it."""

from contract.case import Case, N
from tinynet import MultiHeadAttention, TransformerBlock

CASES = {
    "MultiHeadAttention": Case(lambda: MultiHeadAttention(4, 2, rng=0), (N, 3, 4)),
    "MultiHeadAttention that is causal": Case(
        lambda: MultiHeadAttention(4, 1, causal=True, bias=False, rng=0), (N, 3, 4)
    ),
    "MultiHeadAttention that draws": Case(
        lambda: MultiHeadAttention(4, 4, dropout=0.3, rng=0), (N, 3, 4)
    ),
    "MultiHeadAttention in evaluation": Case(
        lambda: MultiHeadAttention(4, 2, dropout=0.3, rng=0).eval(), (N, 3, 4)
    ),
    "TransformerBlock": Case(lambda: TransformerBlock(4, 2, rng=0), (N, 3, 4)),
    "TransformerBlock in evaluation": Case(
        lambda: TransformerBlock(4, 2, dropout=0.3, rng=0).eval(), (N, 3, 4)
    ),
    "TransformerBlock that draws": Case(
        # One stream for all its masks: how far it has come depends on how many samples there are.
        lambda: TransformerBlock(4, 2, dropout=0.3, rng=0),
        (N, 3, 4),
        mixes_samples=True,
    ),
    "TransformerBlock with norms last": Case(
        lambda: TransformerBlock(
            4, 1, dim_feedforward=6, causal=True, norm_first=False, activation="relu", rng=0
        ),
        (N, 3, 4),
    ),
}
