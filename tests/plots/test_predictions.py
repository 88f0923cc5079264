from collections.abc import Callable
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tinynet import Array, InputError
from tinynet.plots import confident_mistakes, confusion_matrix, sample_predictions
from tinynet.plots.style import BLUE, VERMILION

Legible = Callable[[Figure], None]


def drawn(image: Any) -> Array:
    return np.asarray(image.get_array())


def luminance(colour: Any) -> float:
    c = np.array(to_rgb(colour))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def random_counts(classes: int, most: int = 90) -> Array:
    counts: Array = np.random.default_rng(0).integers(0, most, (classes, classes))
    return counts


COUNTS = np.array([[50, 2, 0], [1, 40, 9], [0, 0, 30]])


@cache
def matrix() -> Axes:
    """The confusion matrix of COUNTS, drawn once for all tests that only look at it."""
    (axes,) = confusion_matrix(COUNTS).axes
    return axes


class TestConfusionMatrix:
    def test_confusion_matrix_has_each_count_in_its_cell_and_a_bold_diagonal(self) -> None:
        axes = matrix()
        cells = {text.get_position(): text for text in axes.texts}
        assert len(axes.texts) == 9
        for (row, column), count in np.ndenumerate(COUNTS):
            cell = cells[column, row]  # x is the prediction, y the label
            assert cell.get_text() == str(count)
            assert cell.get_fontweight() == ("bold" if row == column else "normal")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "label")

    def test_confusion_matrix_title_has_the_accuracy(self) -> None:
        axes = matrix()
        assert axes.get_title() == "120 of 132 right (90.90%)\nmistakes are coloured"

    def test_accuracy_with_a_mistake_is_never_rounded_up_to_100_percent(self) -> None:
        (axes,) = confusion_matrix(np.array([[99_999, 1], [0, 0]])).axes
        assert axes.get_title().startswith("99,999 of 100,000 right (99.99%)")
        (axes,) = confusion_matrix(np.array([[7, 0], [0, 0]], np.uint8)).axes
        assert axes.get_title().startswith("7 of 7 right (100.00%)")

    def test_confusion_matrix_colours_mistakes_only(self) -> None:
        axes = matrix()
        (image,) = axes.images
        assert drawn(image).tolist() == [[0, 2, 0], [1, 0, 9], [0, 0, 0]]
        assert image.get_clim() == (0, 9)
        assert image.get_cmap().name == "Oranges"

    def test_numbers_of_many_digits_are_legible_and_contrast_with_their_colour(
        self, legible: Legible
    ) -> None:
        # From 8 classes on a cell has one size.
        figure = confusion_matrix(1100 * np.arange(81).reshape(9, 9))
        (axes,) = figure.axes
        legible(figure)
        image = axes.images[0]
        colours = image.to_rgba(drawn(image))
        for text in axes.texts:
            column, row = map(int, text.get_position())
            light, dark = luminance(colours[row, column, :3]), luminance(text.get_color())
            contrast = (max(light, dark) + 0.05) / (min(light, dark) + 0.05)
            assert contrast >= 4.5, f"{text.get_text()} in {text.get_color()}"
        assert {text.get_color() for text in axes.texts} == {"black", "white"}

    @pytest.mark.parametrize(("classes", "most"), [(1, 9), (2, 9_000_000)])
    def test_confusion_matrix_of_few_classes_is_legible(
        self, classes: int, most: int, legible: Legible
    ) -> None:
        legible(confusion_matrix(random_counts(classes, most)))

    def test_class_names_label_both_axes(self) -> None:
        names = ["T-shirt/top", "bag", "coat"]
        figure = confusion_matrix(COUNTS, names=names)
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.get_xticklabels()] == names
        assert [text.get_text() for text in axes.get_yticklabels()] == names
        assert {text.get_rotation() for text in axes.get_xticklabels()} == {45}
        figure.draw_without_rendering()
        assert all(t.get_window_extent().x0 >= 0 for t in axes.get_yticklabels())
        (axes,) = confusion_matrix(COUNTS, names=["a", "b", "cat"]).axes
        assert {text.get_rotation() for text in axes.get_xticklabels()} == {0}

    def test_more_than_20_classes_have_a_colour_bar_and_no_numbers(self, legible: Legible) -> None:
        counts = random_counts(21) * 10
        figure = confusion_matrix(counts)
        axes, bar = figure.axes
        assert len(axes.texts) == 0
        assert list(axes.get_xticks()) == list(axes.get_yticks()) == list(range(0, 21, 2))
        assert [text.get_text() for text in axes.get_xticklabels()][-1] == "20"
        assert bar.get_ylabel() == "mistakes"
        assert [text.get_text() for text in bar.get_yticklabels()] == ["0", "1", "10", "100"]
        image = axes.images[0]
        # Nearly as far from 1 to 10 as from 10 to 100; a linear scale has a tenth.
        zero, *powers = np.asarray(image.norm(np.array([0, 1, 10, 100])))
        steps = np.diff(powers)
        assert steps[0] == pytest.approx(steps[1], rel=0.15)
        assert zero == 0
        legible(figure)

    def test_up_to_20_classes_have_numbers_and_ticks_of_100_are_at_every_fifth(self) -> None:
        assert len(confusion_matrix(random_counts(20)).axes[0].texts) == 400
        axes = confusion_matrix(random_counts(100)).axes[0]
        assert list(axes.get_xticks()) == list(axes.get_yticks()) == list(range(0, 100, 5))

    @pytest.mark.parametrize("classes", [3, 21])
    def test_confusion_matrix_without_mistakes_has_light_cells(self, classes: int) -> None:
        empty = confusion_matrix(np.zeros((classes, classes), int))
        assert empty.axes[0].get_title() == "0 of 0 right\nmistakes are coloured"
        for figure in (empty, confusion_matrix(np.eye(classes, dtype=int))):
            image = figure.axes[0].images[0]
            assert drawn(image).max() == 0
            assert luminance(image.to_rgba(drawn(image))[0, 0, :3]) > 0.9
        if classes > 20:  # with a colour bar
            empty.draw_without_rendering()

    @pytest.mark.parametrize(
        ("counts", "names", "sentence"),
        [
            ([[1]], None, "counts to be a NumPy array, got list"),
            (np.zeros(3, int), None, "counts of shape (C, C), got (3,)"),
            (np.zeros((0, 0), int), None, "counts of shape (C, C), got (0, 0)"),
            (np.zeros((2, 3), int), None, "counts of shape (2, 2), got (2, 3)"),
            (np.zeros((2, 2)), None, "counts of an integer dtype, got float64"),
            (np.array([[1, -2], [0, 0]]), None, "counts >= 0, got -2"),
            (np.eye(2, dtype=int), ["a"], "2 names, one a class, got 1"),
        ],
    )
    def test_confusion_matrix_refuses_counts_and_names_that_do_not_fit(
        self, counts: Any, names: Any, sentence: str
    ) -> None:
        with pytest.raises(InputError) as error:
            confusion_matrix(counts, names=names)
        assert str(error.value) == f"confusion_matrix expects {sentence}"
        assert not plt.get_fignums()


# Eight images, each of one value that says which one was drawn; 3 and 6 are mistakes.
IMAGES = np.arange(8, dtype=np.uint8)[:, None, None] * np.full((4, 6), 10, np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
GUESSES = np.array([0, 1, 2, 2, 1, 2, 1, 1])
SURE = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.9, 0.95, 0.7])
PROBABILITIES = np.where(np.eye(3)[GUESSES] > 0, SURE[:, None], (1 - SURE[:, None]) / 2)


def which(axes: Axes) -> list[int]:
    """The indices of the images in the order of drawing."""
    for image in axes.images:
        values = drawn(image)
        assert values.shape == (4, 6)
        assert (values == values[0, 0]).all()
    return [round(drawn(image)[0, 0] * 255 / 10) for image in axes.images]


def frames(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


@cache
def samples() -> Axes:
    """All IMAGES, drawn once for all tests that only look at them."""
    (axes,) = sample_predictions(IMAGES, LABELS, PROBABILITIES, rng=0).axes
    return axes


class TestSamplePredictions:
    def test_sample_predictions_draws_each_image_once_with_its_caption(self) -> None:
        axes = samples()
        rows = which(axes)
        assert sorted(rows) == list(range(8))
        assert rows != list(range(8))
        captions = ["0", "1", "2", "2, is 0", "1", "2", "1, is 0", "1"]
        assert [text.get_text() for text in axes.texts] == [captions[row] for row in rows]
        for text, image in zip(axes.texts, axes.images, strict=True):
            left, right, _, top = image.get_extent()
            x, y = text.get_position()
            assert x == pytest.approx((left + right) / 2)
            assert top < y < top + 0.1
        assert axes.get_title() == "Sample predictions: 6 of 8 right, mistakes framed"

    def test_mistakes_have_a_frame_and_a_bold_caption(self) -> None:
        axes = samples()
        wrong = [row in (3, 6) for row in which(axes)]
        assert [text.get_fontweight() == "bold" for text in axes.texts] == wrong
        assert [text.get_color() for text in axes.texts] == [
            VERMILION if is_wrong else BLUE for is_wrong in wrong
        ]
        framed = [
            any(
                frame.get_x() < image.get_extent()[0]
                and image.get_extent()[1] < frame.get_x() + frame.get_width()
                and frame.get_y() < image.get_extent()[2]
                and image.get_extent()[3] < frame.get_y() + frame.get_height()
                for frame in frames(axes)
            )
            for image in axes.images
        ]
        assert framed == wrong
        assert len(frames(axes)) == 2

    def test_sample_predictions_depend_on_the_rng_alone(self) -> None:
        def rows(rng: Any) -> list[int]:
            figure = sample_predictions(IMAGES, LABELS, PROBABILITIES, count=3, rng=rng)
            return which(figure.axes[0])

        assert len(rows(None)) == 3
        assert rows(1) == rows(1) == rows(np.random.default_rng(1))
        assert len({tuple(rows(seed)) for seed in range(5)}) > 1

    @pytest.mark.parametrize(
        ("rows", "drawn_rows"),
        [
            (3, [3]),
            ([3], [3]),
            (np.array([5, 3, 5], np.uint8), [5, 3, 5]),
            ((-1, 0), [7, 0]),
            (range(8), [0, 1, 2, 3]),
        ],
    )
    def test_rows_are_drawn_in_the_given_order_up_to_count(
        self, rows: Any, drawn_rows: list[int], legible: Legible
    ) -> None:
        figure = sample_predictions(IMAGES, LABELS, PROBABILITIES, rows=rows, count=4)
        axes = figure.axes[0]
        assert which(axes) == drawn_rows
        wrong = [row == 3 for row in drawn_rows]
        assert [text.get_text() == "2, is 0" for text in axes.texts] == wrong
        assert len(frames(axes)) == sum(wrong)
        legible(figure)

    @pytest.mark.parametrize(
        ("rows", "sentence"),
        [
            (8, "rows from -8 to 7, got 8"),
            ([0, -9], "rows from -8 to 7, got -9"),
            ([], "rows of shape (M,), got (0,)"),
            ([[0, 1]], "rows of shape (M,), got (1, 2)"),
            ([0.0], "rows of an integer dtype, got float64"),
            (LABELS == 2, "rows of an integer dtype, got bool; np.flatnonzero(rows) makes them"),
            ("7", "rows of an integer dtype, got <U1"),
        ],
    )
    def test_rows_that_are_no_indices_are_refused(self, rows: Any, sentence: str) -> None:
        with pytest.raises(InputError) as error:
            sample_predictions(IMAGES, LABELS, PROBABILITIES, rows=rows)
        assert str(error.value) == f"sample_predictions expects {sentence}"
        assert not plt.get_fignums()

    def test_images_keep_their_aspect_ratio_and_do_not_overlap(self) -> None:
        axes = samples()
        extents = [image.get_extent() for image in axes.images]
        for left, right, bottom, top in extents:
            assert (right - left) / (top - bottom) == pytest.approx(6 / 4)
        for a, b in ((a, b) for a in extents for b in extents if a != b):
            assert a[1] < b[0] or b[1] < a[0] or a[3] < b[2] or b[3] < a[2]
        assert axes.get_aspect() == 1
        low, high = axes.get_xlim()
        assert all(low < left and right < high for left, right, _, _ in extents)

    def test_captions_with_class_names_have_a_line_for_each(self, legible: Legible) -> None:
        names = ["T-shirt/top", "ankle boot", "sneaker"]
        figure = sample_predictions(IMAGES, LABELS, PROBABILITIES, names=names, rng=0)
        captions = [text.get_text() for text in figure.axes[0].texts]
        assert sorted(set(captions)) == [
            "T-shirt/top",
            "ankle boot",
            "ankle boot\nis T-shirt/top",
            "sneaker",
            "sneaker\nis T-shirt/top",
        ]
        legible(figure)

    @pytest.mark.parametrize("n", [1, 15])
    def test_sample_predictions_are_legible_with_one_image_or_many(
        self, n: int, legible: Legible
    ) -> None:
        images = np.zeros((n, 28, 28), np.uint8)
        labels, probabilities = np.zeros(n, int), np.eye(10)[np.arange(n) % 10]
        figure = sample_predictions(images, labels, probabilities, count=12)
        assert len(figure.axes[0].images) == min(n, 12)
        legible(figure)

    @pytest.mark.parametrize(
        ("images", "expected"),
        [
            (np.full((1, 2, 2), 51, np.uint8), 0.2),
            (np.full((1, 2, 2), 0.2), 0.2),
            (np.full((1, 2, 2), True), 1.0),
            (np.array([[[-1.0, 3.0], [0.0, 0.0]]]), [[0, 1], [0.25, 0.25]]),
            (np.full((1, 2, 2, 3), [0, 51, 255], np.uint8), [0, 0.2, 1]),
        ],
    )
    def test_uint8_and_float_images_are_drawn_on_the_scale_of_0_to_1(
        self, images: Array, expected: Any
    ) -> None:
        figure = sample_predictions(images, np.array([0]), np.array([[1.0]]))
        (image,) = figure.axes[0].images
        assert drawn(image).shape == images.shape[1:]
        np.testing.assert_allclose(drawn(image), np.broadcast_to(expected, images.shape[1:]))
        assert image.get_clim() == (0, 1)
        assert image.get_cmap().name == "gray_r"


class TestConfidentMistakes:
    def test_confident_mistakes_are_sorted_by_probability(self) -> None:
        (axes,) = confident_mistakes(IMAGES, LABELS, PROBABILITIES).axes
        assert which(axes) == [6, 3]
        assert [text.get_text() for text in axes.texts] == ["1, is 0\n95.0%", "2, is 0\n60.0%"]
        assert axes.get_title() == "The 2 most confident of 2 mistakes"
        assert {text.get_color() for text in axes.texts} == {VERMILION}
        assert not frames(axes)  # all of them are mistakes

    def test_count_limits_the_confident_mistakes(self) -> None:
        (axes,) = confident_mistakes(IMAGES, LABELS, PROBABILITIES, count=1).axes
        assert which(axes) == [6]
        assert axes.get_title() == "The 1 most confident of 2 mistakes"

    def test_mistakes_of_equal_probability_keep_their_order(self) -> None:
        labels = (GUESSES + 1) % 3
        (axes,) = confident_mistakes(IMAGES, labels, PROBABILITIES).axes
        assert which(axes) == [6, 0, 5, 1, 2, 7, 3, 4]

    def test_confident_mistakes_with_class_names_are_legible(self, legible: Legible) -> None:
        names = ["T-shirt/top", "ankle boot", "sneaker"]
        figure = confident_mistakes(IMAGES, LABELS, PROBABILITIES, names=names)
        assert figure.axes[0].texts[0].get_text() == "ankle boot\nis T-shirt/top\n95.0%"
        names = ["common chrysanthemum", "wild rhododendron", "mountain hydrangea"]
        legible(confident_mistakes(IMAGES, (GUESSES + 1) % 3, PROBABILITIES, names=names))

    def test_confident_mistakes_without_a_mistake_is_a_sentence(self, legible: Legible) -> None:
        figure = confident_mistakes(IMAGES, GUESSES, PROBABILITIES)
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.texts] == ["No mistakes: 8 of 8 right"]
        assert not axes.images
        legible(figure)


@pytest.mark.parametrize("draw", [sample_predictions, confident_mistakes])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": [1]}, "images to be a NumPy array, got list"),
        ({"images": IMAGES[0]}, "images of shape (N, H, W), got (4, 6)"),
        ({"images": IMAGES[:0]}, "images of shape (N, H, W), got (0, 4, 6)"),
        ({"images": IMAGES[..., None]}, "images of shape (N, H, W, 3), got (8, 4, 6, 1)"),
        ({"images": IMAGES.astype("U")}, "images of a number dtype, got <U3"),
        ({"images": np.full((8, 2, 2), np.nan)}, "finite images, got some with nan or infinity"),
        ({"labels": LABELS[:7]}, "labels of shape (8,), got (7,)"),
        ({"labels": LABELS * 1.0}, "labels of an integer dtype, got float64"),
        ({"labels": LABELS - 1}, "labels from 0 to 2, got -1 at index 0"),
        ({"labels": LABELS + 1}, "labels from 0 to 2, got 3 at index 2"),
        ({"probabilities": SURE}, "probabilities of shape (8, C), got (8,)"),
        ({"probabilities": PROBABILITIES[:5]}, "probabilities of shape (8, C), got (5, 3)"),
        ({"probabilities": LABELS[:, None]}, "probabilities of a float dtype, got int64"),
        (
            {"probabilities": PROBABILITIES * 2},
            "probabilities from 0 to 1, got 1.8 at (0, 0): softmax(logits) makes them",
        ),
        (
            {"probabilities": np.where(np.eye(8)[:, :3] > 0, np.nan, PROBABILITIES)},
            "probabilities from 0 to 1, got nan at (0, 0): softmax(logits) makes them",
        ),
        ({"names": ["a", "b"]}, "3 names, one a class, got 2"),
        ({"count": 0}, "count to be a whole number >= 1, got 0"),
    ],
)
def test_prediction_plots_refuse_arrays_that_do_not_match(
    draw: Callable[..., Figure], change: dict[str, Any], sentence: str
) -> None:
    given = {"images": IMAGES, "labels": LABELS, "probabilities": PROBABILITIES} | change
    with pytest.raises(InputError) as error:
        draw(**given)
    assert str(error.value) == f"{draw.__name__} expects {sentence}"
    assert not plt.get_fignums()
