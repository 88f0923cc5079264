"""Layers that bring their input to mean 0 and variance 1."""

from contract.case import Case, N
from tinynet import BatchNorm, GroupNorm, LayerNorm, RMSNorm

CASES = {
    "BatchNorm of rows": Case(lambda: BatchNorm(3), (N, 3), mixes_samples=True),
    "BatchNorm of sequences": Case(
        lambda: BatchNorm(3, momentum=None), (N, 3, 4), mixes_samples=True
    ),
    "BatchNorm of images": Case(lambda: BatchNorm(2), (N, 2, 3, 4), mixes_samples=True),
    "BatchNorm without parameters": Case(
        lambda: BatchNorm(3, affine=False), (N, 3), mixes_samples=True
    ),
    "BatchNorm in evaluation": Case(lambda: BatchNorm(2).eval(), (N, 2, 3, 4)),
    "BatchNorm in evaluation, of rows": Case(lambda: BatchNorm(3, affine=False).eval(), (N, 3)),
    "BatchNorm in evaluation, by the batch": Case(
        lambda: BatchNorm(3, track_running_stats=False).eval(), (N, 3, 2), mixes_samples=True
    ),
    "LayerNorm": Case(lambda: LayerNorm(4), (N, 4)),
    "LayerNorm of sequences": Case(lambda: LayerNorm(4, bias=False), (N, 3, 4)),
    "LayerNorm of images": Case(
        lambda: LayerNorm((2, 3, 4), elementwise_affine=False), (N, 2, 3, 4)
    ),
    "RMSNorm": Case(lambda: RMSNorm(4), (N, 3, 4)),
    "RMSNorm of images": Case(
        lambda: RMSNorm((2, 3), eps=0.1, elementwise_affine=False), (N, 2, 3)
    ),
    "GroupNorm of rows": Case(lambda: GroupNorm(2, 6), (N, 6)),
    "GroupNorm of images": Case(lambda: GroupNorm(2, 4), (N, 4, 2, 3)),
    "GroupNorm of each channel": Case(lambda: GroupNorm(2, 2, affine=False), (N, 2, 3, 2)),
}
