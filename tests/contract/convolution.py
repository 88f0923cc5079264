"""Layers that slide a kernel over images."""

from contract.case import Case, N
from tinynet import Conv2D, ConvTranspose2D

CASES = {
    "Conv2D": Case(lambda: Conv2D(2, 3, 3, rng=0), (N, 2, 4, 5)),
    "Conv2D with a border": Case(lambda: Conv2D(2, 3, 3, padding=1, rng=0), (N, 2, 4, 3)),
    "Conv2D of one entry": Case(lambda: Conv2D(2, 3, 1, bias=False, rng=0), (N, 2, 2, 3)),
    "Conv2D in steps": Case(
        lambda: Conv2D(1, 2, (3, 2), stride=2, padding=((1, 0), (0, 2)), rng=0), (N, 1, 5, 4)
    ),
    "Conv2D with gaps": Case(lambda: Conv2D(2, 2, 2, dilation=2, rng=0), (N, 2, 4, 4)),
    "Conv2D of groups": Case(
        lambda: Conv2D(4, 6, 2, groups=2, padding="same", rng=0), (N, 4, 3, 3)
    ),
    "Conv2D, depthwise": Case(lambda: Conv2D(3, 3, 2, groups=3, rng=0), (N, 3, 3, 4)),
    "ConvTranspose2D": Case(lambda: ConvTranspose2D(2, 3, 3, rng=0), (N, 2, 2, 3)),
    "ConvTranspose2D in steps": Case(
        lambda: ConvTranspose2D(2, 3, 3, stride=2, padding=1, output_padding=1, rng=0),
        (N, 2, 2, 3),
    ),
    "ConvTranspose2D of one entry": Case(
        lambda: ConvTranspose2D(2, 3, 1, bias=False, rng=0), (N, 2, 2, 3)
    ),
    "ConvTranspose2D with gaps": Case(
        lambda: ConvTranspose2D(2, 2, 2, dilation=2, padding=(0, 1), rng=0), (N, 2, 2, 3)
    ),
    "ConvTranspose2D of groups": Case(
        lambda: ConvTranspose2D(4, 6, 2, groups=2, rng=0), (N, 4, 2, 2)
    ),
}
