from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from preflight_faults import features, mnist, net, run

from tinynet import (
    SGD,
    Array,
    BinaryCrossEntropy,
    Dense,
    Embedding,
    Hinge,
    Layer,
    MeanSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    preflight,
)
from tinynet.datasets.batches import Batches
from tinynet.health import Finding, validation_checks
from tinynet.health.inspection import Inspection, inspect
from tinynet.health.validation_checks import (
    copied_samples,
    orientation,
    validation_classes,
    validation_scale,
)
from tinynet.recording import Call

Check = Callable[[Inspection], Iterator[Finding]]
Pair = tuple[Array, Array]


def found(check: Check, training: Pair, held_out: Pair | None, loss: Layer | None = None) -> Any:
    """The only finding of a check, or None, if the predictions are x."""
    model = Dense(1, 1, rng=0)
    trainer = Trainer(model, loss or AnyLoss(), SGD(model.parameters(), 0.1))
    x, y = training
    looked_at = Inspection(trainer, Batches(x, y), held_out, x, y, [Call("", model, (x,), x)], x)
    (finding,) = [*check(looked_at), None][:1]
    return finding


class AnyLoss(Layer):
    """A loss that takes anything."""

    def forward(self, prediction: Array, targets: Array) -> float:
        self.save_for_backward(0.0, prediction)
        return 0.0 * len(targets)

    def backward(self) -> Array:
        return np.zeros_like(self.saved_for_backward()[1])


def labelled(labels: Any) -> Pair:
    labels = np.asarray(labels)
    return np.zeros((len(labels), 4), np.float32), labels


def without_labels(x: Array) -> Pair:
    return x, np.zeros(len(x), np.int64)


class TestClasses:
    def test_classes_without_a_training_label_are_found(self) -> None:
        finding = found(
            validation_classes, labelled([0, 1] * 50), labelled([1, 2] * 20), SoftmaxCrossEntropy()
        )
        assert finding.name == "validation classes"
        assert finding.evidence == (
            "20 of the 40 validation labels are of classes without any training label: 2."
        )
        assert "Shuffle before you split" in finding.advice

    def test_classes_without_a_validation_label_are_found(self) -> None:
        training, held_out = labelled([0, 1, 2, 3] * 30), labelled([3] * 40)
        finding = found(validation_classes, training, held_out, SoftmaxCrossEntropy())
        assert finding.evidence == (
            "90 of the 120 training labels are of classes without any validation label: 0, 1, 2."
        )

    def test_at_most_ten_classes_are_listed(self) -> None:
        training = np.zeros((300, 24), np.float32), np.arange(300) % 12
        held_out = np.zeros((300, 24), np.float32), 12 + np.arange(300) % 12
        finding = found(validation_classes, training, held_out, SoftmaxCrossEntropy())
        assert finding.evidence.endswith("label: 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, ....")

    @pytest.mark.parametrize(
        ("training", "held_out"),
        [
            ([0, 1, 2, 3] * 30, [0, 1, 2, 3] * 10),
            ([0, 1, 2] * 30, [0, 1, 2] * 10 + [3] * 6),  # 6 of 6 in a quarter: once in 4,096
            ([0, 1, 2] * 40 + [3] * 20, [0, 1, 2] * 5),  # 20 of 20 in 90 %: once in 8
            ([0, 1, 2, 3] * 300, [1]),
        ],
        ids=["all", "rare in training", "rare in validation", "one sample"],
    )
    def test_classes_that_are_missing_by_chance_are_not_accused(
        self, training: list[int], held_out: list[int]
    ) -> None:
        pairs = labelled(training), labelled(held_out)
        assert found(validation_classes, *pairs, SoftmaxCrossEntropy()) is None

    def test_few_labels_of_many_are_not_accused(self) -> None:
        rare = [0] * 5000 + [1] * 40  # 40 of 40 in one half, and less than 1 %
        pairs = labelled([0] * 5000), labelled(rare)
        assert found(validation_classes, *pairs, SoftmaxCrossEntropy()) is None

    @pytest.mark.parametrize("seed", range(5))
    def test_many_rare_classes_in_one_part_alone_are_not_accused(self, seed: int) -> None:
        labels = np.random.default_rng(seed).permutation(np.arange(1000) % 800)
        x = np.zeros((1000, 800), np.float32)
        training, held_out = (x[:800], labels[:800]), (x[800:], labels[800:])
        assert set(labels[800:]) - set(labels[:800])
        assert found(validation_classes, training, held_out, SoftmaxCrossEntropy()) is None

    @pytest.mark.parametrize(
        ("loss", "to_targets"),
        [
            (SoftmaxCrossEntropy(), lambda y: np.eye(4, dtype=np.float32)[y]),
            (Hinge(), lambda y: y),
            (SoftmaxCrossEntropy(), lambda y: np.where(np.arange(len(y)) % 5, y, -100)),
        ],
        ids=["one-hot rows", "hinge", "with ignored labels"],
    )
    def test_labels_of_each_form_are_compared(
        self, loss: Layer, to_targets: Callable[[Array], Array]
    ) -> None:
        x = np.zeros((200, 4), np.float32)
        low, mixed = np.arange(200) % 2, np.arange(200) % 4
        assert found(validation_classes, (x, to_targets(low)), (x, to_targets(mixed)), loss)
        assert not found(validation_classes, (x, to_targets(mixed)), (x, to_targets(mixed)), loss)

    def test_binary_targets_are_compared(self) -> None:
        x, y = np.zeros((200, 1), np.float32), (np.arange(200) < 100)[:, None].astype(float)
        assert found(validation_classes, (x, y), (x, y), BinaryCrossEntropy()) is None
        finding = found(validation_classes, (x, y), (x, np.ones((200, 1))), BinaryCrossEntropy())
        assert finding.evidence.endswith("without any validation label: 0.")

    @pytest.mark.parametrize("kind", ["soft rows", "soft binary", "numbers", "only ignored"])
    def test_targets_without_classes_are_not_compared(self, kind: str) -> None:
        x = np.zeros((200, 2), np.float32)
        loss: Layer = SoftmaxCrossEntropy()
        y: Any = np.full((200, 2), 0.5)
        if kind == "soft binary":
            x, y, loss = x[:, :1], y[:, :1], BinaryCrossEntropy()
        elif kind == "numbers":
            loss = MeanSquaredError()
        elif kind == "only ignored":
            y = np.full(200, -100)
        other = 1 - y if kind == "numbers" else y
        assert found(validation_classes, (x, y), (x, other), loss) is None


def rows(samples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((samples, 6)).astype(np.float32)


class TestCopies:
    @pytest.mark.parametrize("copies", [5, 17, 100])
    def test_copies_are_counted(self, copies: int) -> None:
        x, other = rows(400), rows(100, seed=1)
        other[:copies] = x[123 : 123 + copies]
        finding = found(copied_samples, without_labels(x), without_labels(other))
        assert finding.name == "validation leakage"
        assert finding.evidence == (
            f"{copies} of 100 validation samples that were compared stand in the training data: "
            "sample 0 is training sample 123. Of 400 training samples, 0 stand there twice."
        )

    @pytest.mark.parametrize("copies", [0, 1, 2])
    def test_single_copies_are_not_accused(self, copies: int) -> None:
        x, other = rows(400), rows(100, seed=1)
        other[:copies] = x[:copies]
        assert found(copied_samples, without_labels(x), without_labels(other)) is None

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("values", [2, 3, 8])
    def test_natural_copies_of_discrete_rows_are_not_accused(self, values: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x, other = (rng.integers(0, values, (n, 4)).astype(np.float32) for n in (600, 200))
        assert found(copied_samples, without_labels(x), without_labels(other)) is None

    def test_blank_rows_are_not_accused(self) -> None:
        x, other = rows(400), rows(100, seed=1)
        x[0] = other[:50] = 0
        assert found(copied_samples, without_labels(x), without_labels(other)) is None

    def test_copies_beyond_the_natural_ones_are_found(self) -> None:
        x, other = rows(400), rows(100, seed=1)
        x[:40] = x[40:80]
        other[:60] = x[200:260]
        finding = found(copied_samples, without_labels(x), without_labels(other))
        assert finding.evidence.startswith("60 of 100 ")
        assert finding.evidence.endswith("Of 400 training samples, 80 stand there twice.")

    @pytest.mark.parametrize("form", [(12, 12), (3, 8, 8)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
    def test_copies_of_images_are_found(self, form: tuple[int, ...], dtype: Any) -> None:
        x = np.random.default_rng(0).integers(0, 255, (90, *form)).astype(dtype)
        assert found(copied_samples, without_labels(x), without_labels(x[::2]))
        assert not found(copied_samples, without_labels(x[::2]), without_labels(x[1::2]))

    def test_samples_that_differ_in_one_entry_are_no_copies(self) -> None:
        x = np.random.default_rng(0).integers(0, 255, (90, 50)).astype(np.float32)
        other = x.copy()
        other[:, x.std(axis=0).argmin()] += 1  # none of the entries that are compared first
        assert found(copied_samples, without_labels(x), without_labels(other)) is None

    def test_copies_of_samples_of_one_number_are_natural(self) -> None:
        x = np.arange(500) % 90
        assert found(copied_samples, without_labels(x), without_labels(x[:200])) is None

    def test_inputs_of_another_dtype_or_shape_are_not_compared(self) -> None:
        x = rows(100)
        assert not found(copied_samples, without_labels(x), without_labels(x.astype(np.float64)))
        assert not found(copied_samples, without_labels(x), without_labels(x[:, :5]))

    def test_arrays_above_the_limit_are_not_searched(self, monkeypatch: Any) -> None:
        x = rows(100)
        assert found(copied_samples, without_labels(x), without_labels(x))
        monkeypatch.setattr(validation_checks, "SCAN", x.nbytes - 1)
        assert not found(copied_samples, without_labels(x), without_labels(x))


REARRANGED: dict[str, Callable[[Array], Array]] = {
    "transposed": lambda x: x.swapaxes(1, 2),
    "flipped left to right": lambda x: x[:, :, ::-1],
    "flipped upside down": lambda x: x[:, ::-1],
    "turned by 180 degrees": lambda x: x[:, ::-1, ::-1],
    "turned by 90 degrees to the right": lambda x: np.rot90(x, 1, (1, 2)),
    "turned by 90 degrees to the left": lambda x: np.rot90(x, -1, (1, 2)),
    "transposed along the other diagonal": lambda x: x[:, ::-1, ::-1].swapaxes(1, 2),
}
FORMS: dict[str, Callable[[Array], Array]] = {
    "images": lambda x: x,
    "rows": lambda x: x.reshape(len(x), -1),
    "channels first": lambda x: np.repeat(x[:, None], 2, axis=1),
    "channels last": lambda x: np.repeat(x[..., None], 2, axis=3),
    "floats": lambda x: (x / 255).astype(np.float32),
}


def digits(start: int, samples: int) -> Array:
    return mnist()[0][start : start + samples]


class TestOrientation:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("how", REARRANGED)
    def test_images_that_are_rearranged_are_found(self, how: str, form: str) -> None:
        x, other = digits(0, 600), np.ascontiguousarray(REARRANGED[how](digits(20_000, 400)))
        give = FORMS[form]
        pairs = without_labels(give(x)), without_labels(give(other))
        finding = found(orientation, *pairs)
        assert finding.name == "validation inputs"
        assert finding.evidence.endswith(f" if it is {how}.")

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("samples", [32, 100, 400])
    def test_images_in_the_same_order_are_not_accused(self, form: str, samples: int) -> None:
        give = FORMS[form]
        for seed in range(5):
            other = digits(1000 * seed + 1000, samples)
            pairs = without_labels(give(digits(0, 600))), without_labels(give(other))
            assert found(orientation, *pairs) is None

    @pytest.mark.parametrize("digit", range(10))
    def test_images_of_one_class_are_not_accused(self, digit: int) -> None:
        images, labels = mnist()
        other = images[labels == digit][:200]
        assert found(orientation, without_labels(digits(0, 600)), without_labels(other)) is None

    def test_images_that_are_not_square_may_be_flipped(self) -> None:
        x, other = digits(0, 600)[:, :20], digits(20_000, 400)[:, :20]
        finding = found(orientation, without_labels(x), without_labels(other[:, ::-1]))
        assert finding.evidence.endswith(" if it is flipped upside down.")
        assert not found(orientation, without_labels(x), without_labels(other))

    def test_channels_in_the_reverse_order_are_found(self) -> None:
        x = np.stack([digits(0, 600), digits(0, 600) // 2, digits(0, 600) // 9], axis=1)
        finding = found(orientation, without_labels(x[:300]), without_labels(x[300:, ::-1]))
        assert finding.evidence.endswith("if it is in the reverse order of channels (BGR, RGB).")
        assert not found(orientation, without_labels(x[:300]), without_labels(x[300:]))

    @pytest.mark.parametrize("scale", [-1, -0.01])
    def test_inputs_that_are_inverted_are_found(self, scale: float) -> None:
        x = (FORMS["floats"])(digits(0, 600))
        finding = found(orientation, without_labels(x[:300]), without_labels(scale * x[300:]))
        assert "have the correlation -0.9" in finding.evidence
        assert finding.advice.startswith("Invert one of them")

    @pytest.mark.parametrize("seed", range(5))
    def test_a_table_that_was_standardized_as_a_whole_is_not_accused(self, seed: int) -> None:
        """The means of its parts have opposite signs."""
        x = np.random.default_rng(seed).standard_normal((200, 30))
        x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
        means = x[:100].mean(axis=0), x[100:].mean(axis=0)
        assert np.corrcoef(*means)[0, 1] < -0.99
        assert found(orientation, without_labels(x[:100]), without_labels(x[100:])) is None

    @pytest.mark.parametrize(
        "make",
        [
            lambda: (digits(0, 100), digits(100, 31).swapaxes(1, 2)),
            lambda: (digits(0, 31), digits(100, 100).swapaxes(1, 2)),
            lambda: (digits(0, 100)[:, :3, :3], 255 - digits(0, 100)[:, :3, :3]),
            lambda: (digits(0, 100), np.full((100, 28, 28), 7, np.uint8)),
            lambda: (np.full((100, 28, 28), 7, np.uint8), digits(0, 100)),
            lambda: (digits(0, 600)[:, 7:14, 7:14], digits(0, 600)[:, 7:14, 7:14].swapaxes(1, 2)),
            lambda: (digits(0, 400).reshape(-1, 784)[:, :700],) * 2,
            lambda: (digits(0, 400).reshape(-1, 4, 7, 7, 4),) * 2,
            lambda: (digits(0, 100), digits(0, 100)[:, :27]),
        ],
        ids=[
            *("few", "few for training", "few features", "blank", "blank for training", "small"),
            *("no square", "five axes", "another shape"),
        ],
    )
    def test_inputs_that_cannot_be_compared_are_not_accused(self, make: Callable[[], Pair]) -> None:
        x, other = make()
        assert found(orientation, without_labels(x), without_labels(other)) is None


class TestScale:
    def test_sizes_that_differ_by_a_factor_of_ten_are_found(self) -> None:
        x = np.exp(3 * rows(500))
        assert found(validation_scale, without_labels(x[:250]), without_labels(6 * x[250:])) is None
        for factor in (20, 1 / 20):
            other = (factor * x[250:]).astype(np.float32)
            finding = found(validation_scale, without_labels(x[:250]), without_labels(other))
            assert "and usual sizes of" in finding.evidence

    def test_entries_outside_of_the_other_range_are_found_in_both_directions(self) -> None:
        x = np.random.default_rng(0).random((400, 6))
        halves = without_labels(x[:200]), without_labels(2 * x[200:] - 1)
        for pairs in (halves, halves[::-1]):
            finding = found(validation_scale, *pairs)
            assert "% of the entries of one are outside the range of the other." in str(finding)

    def test_outliers_and_heavy_tails_are_not_accused(self) -> None:
        for seed in range(5):
            x = np.random.default_rng(seed).standard_cauchy((400, 3))
            x[0] = 1e9
            assert not found(validation_scale, without_labels(x[:200]), without_labels(x[200:]))

    def test_sparse_inputs_are_not_accused(self) -> None:
        rng = np.random.default_rng(0)
        x = (rng.random((400, 6)) < 0.02).astype(np.float32)
        assert found(validation_scale, without_labels(x[:300]), without_labels(x[300:])) is None
        blank = np.zeros((100, 6), np.float32)
        assert found(validation_scale, without_labels(x), without_labels(blank)) is None

    def test_few_samples_are_not_accused(self) -> None:
        x = rows(100)
        assert found(validation_scale, without_labels(x), without_labels(100 * x[:31])) is None

    def test_targets_of_a_regression_are_compared(self) -> None:
        x, y = rows(200), rows(200, seed=1)
        finding = found(validation_scale, (x, y), (x, 50 * y), MeanSquaredError())
        assert finding.evidence.startswith("The validation targets have values from")
        assert found(validation_scale, (x, y), (x, 2 * y), MeanSquaredError()) is None
        assert found(validation_scale, (x, y), (x, 50 * y)) is None

    def test_token_ids_and_sequences_of_another_length_have_no_scale(self) -> None:
        model = Sequential([Embedding(1000, 4, rng=0), Dense(4, 2, rng=0)])
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
        x = np.random.default_rng(0).integers(0, 9, (64, 5))
        batches, held_out = Batches(x, x % 2), (100 * x, x % 2)
        assert [*validation_scale(inspect(trainer, batches, held_out))] == []
        floats = rows(100).reshape(100, 2, 3)
        pairs = without_labels(floats), without_labels(1000 * floats[:, :1])
        assert found(validation_scale, *pairs) is None

    def test_large_samples_are_compared_by_some_of_them(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(validation_checks, "ENTRIES", 700)
        x = 1 + abs(rows(500))
        assert len(validation_checks._flat(x)) == 100
        assert found(validation_scale, without_labels(x[:250]), without_labels(50 * x[250:]))


@pytest.mark.parametrize(
    "check", [validation_classes, copied_samples, orientation, validation_scale]
)
def test_without_validation_data_there_is_nothing_to_compare(check: Check) -> None:
    assert found(check, without_labels(rows(50)), None) is None


@pytest.mark.usefixtures("_no_gradient_check")
class TestHealthy:
    def test_preflight_finds_nothing_in_validation_data_of_a_random_split(self) -> None:
        (images, labels), some = mnist(), slice(0, 2000)
        held_out = images[5000:5300], labels[5000:5300]
        trainer = run(net((784, 12, 10)))
        found = preflight(trainer, images[some], labels[some], validation=held_out)
        assert str(found) == "nothing found"

    @pytest.mark.parametrize("samples", [1, 2, 40, 200])
    def test_preflight_finds_nothing_in_validation_data_of_a_table(self, samples: int) -> None:
        x, score = features(0, 700)
        y = (score > 0).astype(int)
        held_out = x[500 : 500 + samples], y[500 : 500 + samples]
        found = preflight(run(net((12, 16, 2), before=())), x[:500], y[:500], validation=held_out)
        assert str(found) == "nothing found"
