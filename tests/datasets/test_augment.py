import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    SGD,
    Array,
    Dense,
    Flatten,
    InputError,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.datasets import RandomDistortion


def distorted(x: Array, seed: int = 0, **settings: Any) -> Array:
    labels = np.arange(len(x))
    y, same = RandomDistortion(**settings)(x, labels, np.random.default_rng(seed))
    assert same is labels
    return y


def by_definition(image: Array, angle: float, shear: float, scale: float, fill: float) -> Array:
    """y[p] = x[A⁻¹ (p - c) + c], pixel by pixel."""
    height, width = image.shape
    angle, shear = math.radians(angle), math.radians(shear)
    rotation = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    inverse = np.linalg.inv(scale * np.array(rotation) @ [[1, -math.tan(shear)], [0, 1]])
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    y = np.zeros(image.shape)
    for row, column in np.ndindex(image.shape):
        at_x, at_y = inverse @ ([column, row] - center) + center
        for near_y in (math.floor(at_y), math.floor(at_y) + 1):
            for near_x in (math.floor(at_x), math.floor(at_x) + 1):
                inside = 0 <= near_y < height and 0 <= near_x < width
                value = image[near_y, near_x] if inside else fill
                weight = (1 - abs(at_x - near_x)) * (1 - abs(at_y - near_y))
                y[row, column] += weight * value
    return y


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    angle=st.floats(-360, 360),
    shear=st.floats(-60, 60),
    scale=st.floats(0.3, 3),
    fill=st.floats(-2, 2),
)
def test_the_pixels_are_those_of_the_definition(
    size: tuple[int, int], angle: float, shear: float, scale: float, fill: float
) -> None:
    x = np.random.default_rng(0).random((2, *size))
    y = distorted(x, degrees=(angle, angle), shear=(shear, shear), scale=(scale, scale), fill=fill)
    for image, result in zip(x, y, strict=True):
        expected = by_definition(image, angle, shear, scale, fill)
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-10)


def test_the_pixels_are_those_of_scipy() -> None:
    # ndimage.affine_transform(x, A⁻¹, c - A⁻¹ c, order=1, mode="grid-constant", cval=0.5) of SciPy
    x = np.arange(12.0).reshape(1, 3, 4) ** 2
    y = distorted(x, degrees=(30, 30), shear=(10, 10), scale=(1.25, 1.25), fill=0.5)
    expected = [
        [14.881528075800873, 11.486629509951648, 4.68704164661811, 2.7868876397274014],
        [52.61860671359577, 38.57957595631176, 27.824760794497575, 20.354161228153234],
        [58.62015845089791, 87.89762938098082, 73.18758692068599, 55.07285516290686],
    ]
    np.testing.assert_allclose(y[0], expected, rtol=0, atol=1e-12)


def test_positive_angles_turn_clockwise_and_lean_the_top_to_the_right() -> None:
    x = np.random.default_rng(0).random((1, 5, 5))
    np.testing.assert_allclose(distorted(x, degrees=(90, 90))[0], np.rot90(x[0], -1), atol=1e-14)
    line = np.zeros((1, 5, 5))
    line[:, :, 2] = 1
    leaning = distorted(line, shear=(45, 45))
    np.testing.assert_allclose(leaning[0], np.eye(5)[::-1], atol=1e-14)
    assert np.count_nonzero(distorted(line, scale=(2, 2)) > 0.4) > 5  # wider


def test_each_image_is_shifted_by_whole_pixels_of_its_own_without_wrapping() -> None:
    x = np.zeros((3000, 10, 20), np.uint8)
    x[:, 4, 9] = 7
    y = distorted(x, translate=0.2)
    assert (y.sum(axis=(1, 2)) == 7).all()
    places = {(int(row) - 4, int(column) - 9) for _, row, column in np.argwhere(y)}
    assert places == {(down, right) for down in range(-2, 3) for right in range(-4, 5)}
    across = np.argwhere(distorted(x, translate=(0.2, 0)))
    assert set(across[:, 1].tolist()) == {4}
    y = distorted(np.ones((50, 4, 4)), translate=0.5, fill=-3)
    assert {-3, 1} == set(np.unique(y).tolist())
    left = {(4 - down) * (4 - right) for down in range(3) for right in range(3)}
    assert {np.count_nonzero(image == 1) for image in y} == left


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.float16, np.float32])
def test_the_dtype_stays_and_integers_are_rounded(dtype: Any) -> None:
    x = np.random.default_rng(0).integers(0, 2 if dtype == np.bool_ else 100, (3, 2, 6, 5))
    settings: dict[str, Any] = {"degrees": 20, "scale": (0.8, 1.2), "alpha": 20}
    y, exact = distorted(x.astype(dtype), **settings), distorted(x.astype(np.float64), **settings)
    assert y.dtype == dtype
    error = abs(y.astype(np.float64) - exact).max()
    assert error <= (0.05 if np.dtype(dtype).kind == "f" else 0.5001)


@given(
    settings=st.fixed_dictionaries(
        {},
        optional={
            "degrees": st.floats(0, 180),
            "translate": st.floats(0, 1),
            "scale": st.tuples(st.floats(0.5, 1), st.floats(1, 2)),
            "shear": st.floats(0, 45),
            "alpha": st.floats(0, 50),
            "sigma": st.floats(0.5, 9),
            "fill": st.integers(0, 255),
        },
    ),
    channels=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_an_image_depends_on_the_generator_alone_and_its_channels_move_together(
    settings: dict[str, Any], channels: int, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(0, 256, (3, channels, 5, 7), np.uint8)
    before = x.copy()
    y = distorted(x, seed, **settings)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y, distorted(x, seed, **settings))
    for channel in range(channels):
        np.testing.assert_array_equal(y[:, channel], distorted(x[:, channel], seed, **settings))
    values = [*x.flat, settings.get("fill", 0)]
    assert min(values) <= y.min() <= y.max() <= max(values)
    if not settings.keys() - {"fill", "sigma"}:
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize(
    "settings", [{"degrees": 30}, {"scale": (0.7, 1.4)}, {"shear": 30}, {"alpha": 30}]
)
def test_equal_images_are_distorted_differently(settings: dict[str, Any]) -> None:
    x = np.repeat(np.random.default_rng(0).random((1, 8, 8)), 20, axis=0)
    y = distorted(x, **settings)
    assert len(np.unique(y.reshape(20, -1), axis=0)) == 20


def test_an_elastic_displacement_is_smoothed_uniform_noise() -> None:
    """Uniform noise has the variance 1/3; smoothing divides it by 4 pi sigma squared."""
    alpha, sigma = 3.0, 2.0
    ramp = np.broadcast_to(np.arange(80.0), (100, 80, 80))
    for x in (ramp, ramp.transpose(0, 2, 1)):
        # Bilinear interpolation of a ramp is exact: what was added to it is the displacement.
        u = (distorted(x, alpha=alpha, sigma=sigma) - x)[:, 12:-12, 12:-12]
        variance = alpha**2 / 3 / (4 * np.pi * sigma**2)
        assert np.mean(u**2) == pytest.approx(variance, rel=0.05)
        for axis in (1, 2):
            along = np.moveaxis(u, axis, 0)
            for distance in (1, 3):
                correlation = np.mean(along[distance:] * along[:-distance]) / np.mean(u**2)
                expected = np.exp(-(distance**2) / (4 * sigma**2))
                assert correlation == pytest.approx(expected, abs=0.05)


def test_fit_distorts_the_batches() -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 6), np.uint8)
    y = np.arange(40) % 2

    def weights(**settings: Any) -> Array:
        network = Sequential([Flatten(), Rescale(1 / 255), Dense(36, 2, rng=0)])
        trainer = Trainer(network, SoftmaxCrossEntropy(), SGD(network.parameters(), 0.1))
        trainer.fit(x, y, epochs=2, batch_size=16, transform=RandomDistortion(**settings))
        return network.parameters()[0].value

    np.testing.assert_array_equal(weights(degrees=30), weights(degrees=30))
    assert (weights(degrees=30) != weights()).any()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"degrees": "10"}, "expects degrees as (low, high) or a number, got '10'"),
        ({"degrees": math.nan}, "expects degrees to be a finite number, got nan"),
        ({"degrees": -10}, "expects degrees as (low, high), got -10"),
        ({"scale": 0.1}, "expects scale as (low, high), got 0.1"),
        ({"scale": (0, 1)}, "expects scale above 0, got (0, 1)"),
        ({"scale": (1.1, 0.9)}, "expects scale as (low, high), got (1.1, 0.9)"),
        ({"shear": 90}, "expects shear between -90 and 90 degrees, got 90"),
        ({"translate": 2}, "expects translate to be a finite number >= 0 and <= 1, got 2"),
        ({"translate": (0.1,)}, "expects translate as (width, height), got (0.1,)"),
        ({"alpha": -1}, "expects alpha to be a finite number >= 0, got -1"),
        ({"sigma": 0}, "expects sigma to be a finite number >= 0.1, got 0"),
        ({"fill": math.inf}, "expects fill to be a finite number, got inf"),
        ({"rotation": 10}, "got rotation"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        RandomDistortion(**settings)
    assert str(error.value).startswith("RandomDistortion expects ")
    assert str(error.value).endswith(sentence)


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        ([[1]], "expects x to be a NumPy array, got list; np.asarray(x) makes one"),
        (
            (np.zeros((2, 4, 4)), np.zeros(2)),
            "expects x to be one array, got 2 in a tuple; "
            "a transform of your own calls it with one of them",
        ),
        (np.zeros(3), "expects x of shape (N, ..., H, W), got (3,)"),
        (
            np.zeros((3, 784)),
            "expects x of shape (N, ..., H, W), got (3, 784); "
            "x.reshape(-1, H, W) makes images of rows",
        ),
        (
            np.zeros((2, 28, 28, 3)),
            "expects x of shape (N, C, H, W), got (2, 28, 28, 3); "
            "np.moveaxis(x, -1, 1) puts the channels first",
        ),
        (np.zeros((2, 4, 4), np.uint8), "expects x of a dtype that holds its fill, got uint8"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(x: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        RandomDistortion(fill=-1)(x, np.zeros(3), np.random.default_rng(0))
    assert str(error.value) == f"RandomDistortion(fill=-1) {sentence}"


def test_no_images_and_images_without_pixels_are_returned_as_they_are() -> None:
    for shape in ((0, 8, 8), (2, 0, 8), (2, 1, 8, 0)):
        x, _ = RandomDistortion(degrees=10, alpha=2)(np.zeros(shape, np.uint8), np.zeros(2), 0)
        assert x.shape == shape


def test_a_seed_stands_for_a_generator_and_a_fill_beyond_the_dtype_is_refused() -> None:
    x = np.random.default_rng(1).random((3, 6, 6), np.float32)
    distort = RandomDistortion(degrees=20)
    one, other = distort(x, x, 5)[0], distort(x, x, np.random.default_rng(5))[0]
    np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="of a dtype that holds its fill, got float32"):
        RandomDistortion(fill=1e39)(x, x, 0)
