"""Embeddings of ids and of places."""

from contract.case import Case, N
from tinynet import Embedding, PositionalEmbedding

CASES = {
    "Embedding": Case(lambda: Embedding(4, 3, rng=0), (N, 6), ids=4),
    "Embedding of one id each": Case(lambda: Embedding(9, 3, rng=0), (N,), ids=9),
    "Embedding with padding": Case(lambda: Embedding(4, 3, padding_idx=1, rng=0), (N, 6), ids=4),
    "PositionalEmbedding": Case(lambda: PositionalEmbedding(5, 3, rng=0), (N, 4, 3)),
    "PositionalEmbedding of full length": Case(lambda: PositionalEmbedding(4, 3, rng=0), (N, 4, 3)),
    "PositionalEmbedding, sinusoidal": Case(
        lambda: PositionalEmbedding(5, 3, kind="sinusoidal"), (N, 4, 3)
    ),
}
