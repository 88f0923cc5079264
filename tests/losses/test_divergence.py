import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, InputError, KLDivergence
from tinynet.testing import check_layer, floats, probability_rows, sizes

batches = st.lists(sizes, min_size=2, max_size=3).map(tuple)
reductions = st.sampled_from(["mean", "sum"])


def log(t: float) -> float:
    return math.log(t) if t > 0 else -math.inf


def log_of_rows(rows: Array) -> Array:
    return np.array([log(t) for t in rows.ravel().tolist()]).reshape(rows.shape)


@given(st.data(), batches, reductions, st.booleans())
def test_kl_divergence_and_its_gradient_equal_their_formulas(
    data: st.DataObject, shape: tuple[int, ...], reduction: str, log_target: bool
) -> None:
    x = data.draw(floats(shape, np.float64, bound=20))
    rows = data.draw(probability_rows(shape))
    targets = log_of_rows(rows) if log_target else rows
    loss = KLDivergence(reduction, log_target)
    got = loss(x, targets)
    assert type(got) is float
    size = shape[0] if reduction == "mean" else 1
    pairs = zip(x.ravel().tolist(), rows.ravel().tolist(), strict=True)
    expected = math.fsum(t * (log(t) - z) for z, t in pairs if t > 0) / size
    assert math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-9)
    dx = loss.backward()
    assert dx.shape == shape
    np.testing.assert_allclose(dx, -rows.astype(float) / size, rtol=1e-12)


@pytest.mark.gradients
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_divergence_gradients_are_right(log_target: bool) -> None:
    def positive(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
        return probability_rows(shape).map(lambda rows: np.log(0.9 * rows + 0.01))

    check_layer(
        KLDivergence,
        ("N", ..., "C"),
        # None near 0, where a step of the numeric derivative is lost beside log t.
        x=lambda shape: floats(shape, bound=3).map(lambda x: x - 4),
        targets=positive if log_target else probability_rows,
        reduction=reductions,
        log_target=log_target,
        examples=0.5,
    )


def test_kl_divergence_of_a_distribution_from_itself_is_0() -> None:
    x = np.log([[0.25, 0.75], [0.5, 0.5]])
    assert KLDivergence()(x, np.exp(x)) == pytest.approx(0, abs=1e-15)
    assert KLDivergence(log_target=True)(x, x) == 0


def test_kl_divergence_divides_by_samples_and_not_by_entries() -> None:
    loss = KLDivergence()
    x, targets = np.full((2, 1, 2), -1.0), np.full((2, 1, 2), 0.5)
    assert loss(x, targets) == pytest.approx(1 - math.log(2))
    assert loss.backward().tolist() == np.full((2, 1, 2), -0.25).tolist()


@pytest.mark.parametrize("log_target", [False, True])
def test_a_target_probability_of_0_may_meet_a_predicted_probability_of_0(log_target: bool) -> None:
    loss = KLDivergence(log_target=log_target)
    targets = np.array([[-np.inf, 0.0]]) if log_target else np.array([[0, 1]])
    assert loss(np.array([[-np.inf, -1.0]], np.float32), targets) == 1
    dx = loss.backward()
    assert dx.tolist() == [[0, -1]]
    assert dx.dtype == np.float32


@pytest.mark.parametrize(
    ("log_target", "x", "targets", "sentence"),
    [
        (False, [0.0], np.zeros(1), "() expects prediction to be a NumPy array, got list"),
        (False, np.zeros((2, 3)), np.zeros(2), "of the prediction, (2, 3), got (2,)"),
        (
            False,
            np.zeros((1, 2)),
            np.array([[0.5, -0.5]]),
            "() expects targets to be probabilities, at least 0, got -0.5 at index (0, 1); "
            "log_target=True takes their logarithms",
        ),
        (False, np.zeros(1), np.array([np.nan]), "got nan at index (0,); log_target=True takes"),
        (
            True,
            np.zeros((1, 2)),
            np.array([[0.5, 0.5]]),
            "(log_target=True) expects targets to be logarithms of probabilities, at most 0, "
            "got 0.5 at index (0, 0); log_target=False takes probabilities",
        ),
        (True, np.zeros(1), np.array([np.nan]), "got nan at index (0,); log_target=False takes"),
    ],
)
def test_kl_divergence_rejects_invalid_predictions_and_targets(
    log_target: bool, x: Any, targets: Any, sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        KLDivergence(log_target=log_target)(x, targets)
    assert str(error.value).startswith("KLDivergence(")
    assert sentence in str(error.value)


def test_log_targets_may_exceed_0_by_rounding() -> None:
    assert KLDivergence(log_target=True)(np.zeros(1), np.array([1e-7])) == pytest.approx(1e-7)


def test_kl_divergence_rejects_invalid_settings() -> None:
    with pytest.raises(InputError, match=r"reduction to be 'mean' or 'sum', got 'batchmean'$"):
        KLDivergence("batchmean")
    settings: dict[str, Any] = {"log_target": 1}
    with pytest.raises(InputError, match=r"log_target to be True or False, got 1$"):
        KLDivergence(**settings)


def test_repr_of_kl_divergence_is_its_constructor_call() -> None:
    assert repr(KLDivergence()) == "KLDivergence()"
    assert repr(KLDivergence("sum", True)) == "KLDivergence(reduction='sum', log_target=True)"
