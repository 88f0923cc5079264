"""Layers that make images smaller or larger."""

from contract.case import Case, N
from tinynet import AvgPool2D, GlobalAvgPool2D, MaxPool2D, UpSample2D

CASES = {
    "MaxPool2D": Case(lambda: MaxPool2D(2), (N, 2, 4, 5)),
    "MaxPool2D of overlapping windows": Case(
        lambda: MaxPool2D((3, 2), stride=(1, 2), padding=1, dilation=(1, 2)), (N, 2, 4, 5)
    ),
    "MaxPool2D of one entry": Case(lambda: MaxPool2D(1), (N, 2, 3, 2)),
    "AvgPool2D": Case(lambda: AvgPool2D(2), (N, 2, 4, 5)),
    "AvgPool2D of overlapping windows": Case(
        lambda: AvgPool2D((3, 2), stride=(1, 2), padding=1), (N, 2, 4, 5)
    ),
    "AvgPool2D that counts no padding": Case(
        lambda: AvgPool2D(2, padding=1, count_include_pad=False), (N, 2, 3, 3)
    ),
    "AvgPool2D of one entry": Case(lambda: AvgPool2D(1), (N, 2, 3, 2)),
    "GlobalAvgPool2D": Case(GlobalAvgPool2D, (N, 2, 4, 3)),
    "GlobalAvgPool2D of one entry": Case(GlobalAvgPool2D, (N, 2, 1, 1)),
    "UpSample2D": Case(UpSample2D, (N, 2, 3, 2)),
    "UpSample2D by 1": Case(lambda: UpSample2D(1), (N, 2, 3, 2)),
    "UpSample2D, bilinear": Case(lambda: UpSample2D((2, 3), "bilinear"), (N, 2, 3, 2)),
    "UpSample2D by 1, bilinear": Case(lambda: UpSample2D(1, "bilinear"), (N, 2, 3, 2)),
}
