import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, BinaryCrossEntropy, InputError
from tinynet.testing import check_layer, floats, sizes

batches = st.lists(sizes, min_size=1, max_size=3).map(tuple)
weight_values = [0.0, 0.5, 1.0, 3.0]


@st.composite
def targets_like(draw: st.DrawFn, shape: tuple[int, ...]) -> Array:
    """Floats from 0 to 1, or 0 and 1 of any dtype."""
    if draw(st.booleans()):
        return draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1, width=32)))
    dtype = draw(st.sampled_from([bool, np.int64, np.uint8, np.float32]))
    return draw(hnp.arrays(bool, shape)).astype(dtype)


@st.composite
def weights_for(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """None, a number, or an array with an entry for each class or for each logit."""
    weight_shape = draw(st.sampled_from([None, (), shape[-1:], shape]))
    return (
        None
        if weight_shape is None
        else draw(hnp.arrays(float, weight_shape, elements=st.sampled_from(weight_values)))
    )


def negative_log_sigmoid(logit: float) -> float:
    """-log of the sigmoid."""
    return math.log1p(math.exp(-logit)) if logit > 0 else math.log1p(math.exp(logit)) - logit


@given(st.data(), batches, st.sampled_from(["mean", "sum"]))
def test_binary_cross_entropy_and_its_gradient_equal_their_formulas(
    data: st.DataObject, shape: tuple[int, ...], reduction: str
) -> None:
    logits = data.draw(floats(shape, np.float64, bound=50))
    targets = data.draw(targets_like(shape))
    weight, pos_weight = data.draw(weights_for(shape)), data.draw(weights_for(shape))
    loss = BinaryCrossEntropy(weight, pos_weight, reduction)
    got = loss(logits, targets)
    assert type(got) is float
    dlogits = loss.backward()
    assert dlogits.shape == shape
    terms, size = [], logits.size if reduction == "mean" else 1
    for index in np.ndindex(shape):
        z, t = float(logits[index]), float(targets[index])
        w, v = (
            1.0 if each is None else float(np.broadcast_to(each, shape)[index])
            for each in (weight, pos_weight)
        )
        terms.append(w * (v * t * negative_log_sigmoid(z) + (1 - t) * negative_log_sigmoid(-z)))
        slope = w * (
            (1 - t) * math.exp(-negative_log_sigmoid(z))
            - v * t * math.exp(-negative_log_sigmoid(-z))
        )
        assert math.isclose(dlogits[index], slope / size, rel_tol=1e-9, abs_tol=1e-13)
    assert math.isclose(got, math.fsum(terms) / size, rel_tol=1e-12)


@pytest.mark.gradients
def test_binary_cross_entropy_gradients_are_right() -> None:
    def make(
        classes: int, *, weight: float | None, with_pos_weight: bool, reduction: str
    ) -> BinaryCrossEntropy:
        return BinaryCrossEntropy(
            weight, np.arange(classes) + 0.5 if with_pos_weight else None, reduction
        )

    check_layer(
        make,
        ("N", ..., "classes"),
        # Not near 0, where the gradient is lost beside that of the other entries.
        x=lambda shape: hnp.arrays(float, shape, elements=st.floats(0.5, 3, width=32)),
        targets=targets_like,
        weight=st.sampled_from([None, 2.0]),
        with_pos_weight=st.booleans(),
        reduction=st.sampled_from(["mean", "sum"]),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_keeps_its_precision_for_confident_logits(dtype: Any) -> None:
    loss = BinaryCrossEntropy(reduction="sum")
    rel = 4 * float(np.finfo(dtype).eps)
    logits = np.array([40.0, -40.0], dtype)
    assert loss(logits, np.array([1, 0])) == pytest.approx(2 * math.exp(-40), rel=rel, abs=0)
    small = 1 / (1 + math.exp(40))
    dlogits = loss.backward()
    assert dlogits.dtype == dtype
    assert dlogits.tolist() == pytest.approx([-small, small], rel=rel, abs=0)


def test_binary_cross_entropy_of_huge_logits_is_finite() -> None:
    loss = BinaryCrossEntropy()
    logits = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
    assert loss(logits, np.array([1, 0, 0, 1])) == 5000
    assert loss.backward().tolist() == [0, 0, 0.25, -0.25]


def test_binary_cross_entropy_of_60000_float32_rows_is_that_of_float64() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((60_000, 2)).astype(np.float32)
    targets = rng.integers(0, 2, (60_000, 2))
    single = BinaryCrossEntropy()(logits, targets)
    assert single == pytest.approx(BinaryCrossEntropy()(logits.astype(np.float64), targets), 1e-7)


def test_a_small_binary_cross_entropy_beside_a_large_one_is_not_rounded_away() -> None:
    loss = BinaryCrossEntropy(reduction="sum")
    logits = np.array([1000.0, 5.0], np.float32)
    expected = 1000 + math.log1p(math.exp(-5))
    assert loss(logits, np.array([0, 1])) == pytest.approx(expected, rel=1e-9)


def test_pos_weight_multiplies_the_loss_of_positive_targets() -> None:
    loss = BinaryCrossEntropy(pos_weight=3)
    assert loss(np.zeros((2, 1)), np.array([[1], [0]])) == pytest.approx(2 * math.log(2))
    assert loss.backward().tolist() == [[-0.75], [0.25]]


@pytest.mark.parametrize(
    ("logits", "targets", "sentence"),
    [
        ([0.0], np.zeros(1), "logits to be a NumPy array, got list"),
        (np.zeros(2, int), np.zeros(2), "logits of a float dtype, got int64; Rescale"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "at least one entry, got (0, 2)."),
        (np.zeros(2), [0, 1], "targets to be a NumPy array, got list"),
        (
            np.zeros((3, 1)),
            np.zeros((1, 3)),
            "of the shape of the logits, (3, 1), got (1, 3); targets.reshape(3, 1) gives it.",
        ),
        (np.zeros((3, 2)), np.zeros((3, 1)), "the shape of the logits, (3, 2), got (3, 1)."),
        (
            np.zeros((3, 2)),
            np.zeros(3, int),
            "the shape of the logits, (3, 2), got (3,); SoftmaxCrossEntropy takes labels.",
        ),
        (
            np.zeros(3),
            np.array([1, -1, 1]),
            "targets from 0 to 1, got -1 at index (1,); (targets + 1) / 2 makes 0 and 1 of -1 "
            "and +1.",
        ),
        (np.zeros(3), np.array([0, 2, 1]), "targets from 0 to 1, got 2 at index (1,)."),
        (np.zeros(3), np.array([0, -1, 1]), "targets from 0 to 1, got -1 at index (1,)."),
        (np.zeros((1, 2)), np.array([[0.5, np.nan]]), "from 0 to 1, got nan at index (0, 1)."),
    ],
)
def test_binary_cross_entropy_rejects_invalid_logits_and_targets(
    logits: Any, targets: Any, sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        BinaryCrossEntropy()(logits, targets)
    message = f"{error.value}."
    assert message.startswith("BinaryCrossEntropy() expects ")
    assert sentence in message


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
def test_binary_cross_entropy_rejects_weights_that_do_not_broadcast_or_are_no_weights(
    name: str,
) -> None:
    for shape in ((3,), (2, 1, 2), (4, 2)):
        settings: dict[str, Any] = {name: np.ones(shape)}
        with pytest.raises(InputError) as error:
            BinaryCrossEntropy(**settings)(np.zeros((1, 2)), np.zeros((1, 2)))
        assert str(error.value).endswith(
            f" expects logits that its {name} {shape} broadcasts to, got (1, 2)"
        )
    with pytest.raises(InputError, match=rf"^BinaryCrossEntropy expects {name} to be finite"):
        BinaryCrossEntropy(**{**settings, name: -1})
    with pytest.raises(InputError, match=rf"^BinaryCrossEntropy expects {name} to be numbers"):
        BinaryCrossEntropy(**{**settings, name: "much"})


def test_repr_of_binary_cross_entropy_is_its_constructor_call() -> None:
    assert repr(BinaryCrossEntropy()) == "BinaryCrossEntropy()"
    loss = BinaryCrossEntropy(pos_weight=3, reduction="sum")
    assert repr(loss) == "BinaryCrossEntropy(pos_weight=3., reduction='sum')"
