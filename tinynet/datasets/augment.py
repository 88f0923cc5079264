"""Data augmentation: affine and elastic distortions of images, each by its own random amount."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from numbers import Real
from typing import Any, final

import numpy as np

from tinynet.errors import InputError, ShapeError
from tinynet.keywords import NamedKeywords
from tinynet.parameter import Array
from tinynet.signature import constructor_call
from tinynet.validation import check_array, finite_number


@final
class RandomDistortion(NamedKeywords):
    """Rotates, scales, shears, shifts and bends images, each by its own random amount.

        y[p] = x[A⁻¹ (p - c - t) + c + u[p]], bilinear; c is the center, and outside of x is `fill`

    It is a transform for `fit`. x: (N, H, W) or (N, C, H, W), of any dtype, which y keeps.
    A = scale · rotation · shear, by angles in degrees (clockwise), uniform in (low, high), or in
    (-d, d) for a number d, as in torchvision's RandomAffine. t: whole pixels, up to the share
    `translate` of width and height. u: uniform noise from -`alpha` to `alpha` pixels, smoothed by a
    Gaussian of `sigma` pixels, an elastic distortion. Simard et al. take alpha=34, sigma=4.

    Raises:
        InputError: a setting out of range; x that is no batch of images or cannot hold `fill`.
    Source: Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", 2003.

    >>> turn = RandomDistortion(degrees=(90, 90))
    >>> turn(np.array([[[1, 2], [3, 4]]]), np.array([0]), np.random.default_rng(0))
    (array([[[3, 1],
            [4, 2]]]), array([0]))
    """

    def __init__(
        self,
        degrees: float | tuple[float, float] = 0.0,
        translate: float | tuple[float, float] = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        shear: float | tuple[float, float] = 0.0,
        *,
        alpha: float = 0.0,
        sigma: float = 4.0,
        fill: float = 0.0,
    ) -> None:
        who = "RandomDistortion"
        self.degrees, self.translate, self.scale, self.shear = degrees, translate, scale, shear
        self._angles = _between(who, "degrees", degrees, symmetric=True)
        self._shears = _between(who, "shear", shear, symmetric=True)
        if not -90 < self._shears[0] <= self._shears[1] < 90:
            raise InputError(f"{who} expects shear between -90 and 90 degrees, got {shear!r}")
        self._scales = _between(who, "scale", scale)
        if not self._scales[0] > 0:
            raise InputError(f"{who} expects scale above 0, got {scale!r}")
        pair = translate if isinstance(translate, tuple) else (translate, translate)
        if len(pair) != 2:
            raise InputError(f"{who} expects translate as (width, height), got {translate!r}")
        self._shares = [finite_number(who, "translate", s, at_least=0, at_most=1) for s in pair]
        self.alpha = finite_number(who, "alpha", alpha, at_least=0)
        self.sigma = finite_number(who, "sigma", sigma, at_least=0.1)
        self.fill = finite_number(who, "fill", fill)

    def __call__(
        self, x: Array, y: Array, rng: np.random.Generator | int | None = None
    ) -> tuple[Array, Array]:
        """The distorted images, and y as it is; `rng` is a Generator, an int seed, or None."""
        self._check(x)
        rng = np.random.default_rng(rng)
        if not x.size:
            return x.copy(), y
        height, width = x.shape[-2:]
        dtype = np.result_type(x.dtype, np.float32)
        rows, columns = self._positions(len(x), height, width, dtype, rng)
        if self.alpha:
            noise = rng.random((2, len(x), height, width), np.float32) * 2 - 1
            across, down = (_gaussian(size, self.sigma) for size in (width, height))
            displacement = self.alpha * (down @ noise @ across)
            rows, columns = rows + displacement[0], columns + displacement[1]
        values = _bilinear(x.reshape(len(x), -1, height, width), rows, columns, self.fill)
        if x.dtype.kind != "f":
            np.rint(values, out=values)
        return values.astype(x.dtype, copy=False).reshape(x.shape), y

    def _positions(
        self, n: int, height: int, width: int, dtype: Any, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """The row and the column, each (N, H, W), that every pixel of y comes from."""
        angle = np.deg2rad(rng.uniform(*self._angles, n))
        slant = np.tan(np.deg2rad(rng.uniform(*self._shears, n)))
        scale = rng.uniform(*self._scales, n)
        right, down = (
            np.rint(rng.uniform(-share * size, share * size, n))
            for share, size in zip(self._shares, (width, height), strict=True)
        )
        sin, cos = np.sin(angle) / scale, np.cos(angle) / scale
        middle = np.array([width - 1, height - 1]) / 2
        # A⁻¹ = [[across, skew], [-sin, cos]] for points (x, y); y is the number of a row.
        across, skew = cos - slant * sin, sin + slant * cos
        x0 = middle[0] - across * (middle[0] + right) - skew * (middle[1] + down)
        y0 = middle[1] + sin * (middle[0] + right) - cos * (middle[1] + down)
        across, skew, sin, cos, x0, y0 = (
            v.astype(dtype)[:, None, None] for v in (across, skew, sin, cos, x0, y0)
        )
        x, y = np.arange(width, dtype=dtype), np.arange(height, dtype=dtype)[:, None]
        return (cos * y + y0) - sin * x, across * x + (skew * y + x0)

    def _check(self, x: Any) -> None:
        if isinstance(x, tuple):
            hint = "a transform of your own calls it with one of them"
            raise InputError(f"{self} expects x to be one array, got {len(x)} in a tuple; {hint}")
        check_array(self, "x", x)
        if x.ndim not in (3, 4):
            hint = "x.reshape(-1, H, W) makes images of rows" if x.ndim == 2 else ""
            raise ShapeError(self, "x", ("N", ..., "H", "W"), x.shape, hint)
        if x.ndim == 4 and x.shape[3] <= 4 < min(x.shape[1:3]):
            hint = "np.moveaxis(x, -1, 1) puts the channels first"
            raise ShapeError(self, "x", ("N", "C", "H", "W"), x.shape, hint)
        with np.errstate(invalid="ignore", over="ignore"):
            held = np.array(self.fill).astype(x.dtype)
        if held != self.fill if x.dtype.kind != "f" else not np.isfinite(held):
            raise InputError(f"{self} expects x of a dtype that holds its fill, got {x.dtype}")

    def __repr__(self) -> str:
        return f"{constructor_call(self)}"


def _between(who: str, name: str, value: Any, *, symmetric: bool = False) -> tuple[float, float]:
    """The range (low, high), or (-value, value) of a number where that is allowed."""
    pair = (-value, value) if symmetric and isinstance(value, Real) else value
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        number = " or a number" if symmetric else ""
        raise InputError(f"{who} expects {name} as (low, high){number}, got {value!r}")
    low, high = (finite_number(who, name, end) for end in pair)
    if low > high:
        raise InputError(f"{who} expects {name} as (low, high), got {value!r}")
    return low, high


def _gaussian(size: int, sigma: float) -> Array:
    """The matrix (size, size) that smooths along an axis, with zeros beyond its ends."""
    reach = max(size, int(10 * sigma) + 1)  # the weights beyond it are 0 in float32
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    offsets = np.arange(size)[:, None] - np.arange(size)
    return np.asarray((weights / weights.sum())[offsets + reach], np.float32)


def _bilinear(images: Array, rows: Array, columns: Array, fill: float) -> Array:
    """Images (N, C, H, W) at positions (N, H, W), as floats; outside of an image is `fill`."""
    n, channels, height, width = images.shape
    # A border of one pixel before, and of two behind, since every position has a right neighbor.
    padded = np.full((n, channels, height + 3, width + 3), fill, rows.dtype)
    padded[..., 1:-2, 1:-2] = images
    rows, columns = np.clip(rows + 1, 0, height + 1), np.clip(columns + 1, 0, width + 1)
    row, column = np.floor(rows), np.floor(columns)
    down, right = (rows - row)[:, None], (columns - column)[:, None]
    start = np.arange(n * channels).reshape(n, channels, 1, 1) * padded[0, 0].size
    index = start + (row.astype(np.intp) * (width + 3) + column.astype(np.intp))[:, None]
    values, lower = (
        left + right * (padded.take(i + 1) - left)
        for i, left in ((i, padded.take(i)) for i in (index, index + width + 3))
    )
    return np.asarray(values + down * (lower - values))
