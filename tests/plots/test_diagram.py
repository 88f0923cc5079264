from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from tinynet import Array, Dense, Flatten, InputError, Layer, ReLU, Rescale, Sequential
from tinynet.plots import model_diagram

Legible = Callable[[Figure], None]


def boxes(axes: Axes) -> list[FancyBboxPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


def frames(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def arrows(axes: Axes) -> list[FancyArrowPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def texts_in(axes: Axes, patch: Any) -> list[str]:
    """The texts that are entirely inside a box or frame of a drawn figure."""
    edge = patch.get_window_extent()
    boxes = [(text.get_text(), text.get_window_extent()) for text in axes.texts if text.get_text()]
    return [
        text
        for text, box in boxes
        if edge.x0 < box.x0 and box.x1 < edge.x1 and edge.y0 < box.y0 and box.y1 < edge.y1
    ]


def around(frame: Rectangle, box: FancyBboxPatch) -> bool:
    outer, inner = frame.get_bbox(), box.get_path().get_extents(box.get_patch_transform())
    return bool(outer.x0 < inner.x0 and inner.x1 < outer.x1) and bool(
        outer.y0 < inner.y0 and inner.y1 < outer.y1
    )


def test_diagram_has_a_box_per_layer_with_shape_and_parameters(legible: Legible) -> None:
    model = Sequential([Flatten(), Dense(784, 128), ReLU(), Dense(128, 10)])
    figure = model_diagram(model, (64, 28, 28))
    (axes,) = figure.axes
    legible(figure)
    assert [texts_in(axes, box) for box in boxes(axes)] == [
        ["x", "(64, 28, 28)"],
        ["0", "Flatten()", "(64, 784)", "0"],
        ["1", "Dense(784, 128)", "(64, 128)", "100,480"],
        ["2", "ReLU()", "(64, 128)", "0"],
        ["3", "Dense(128, 10)", "(64, 10)", "1,290"],
    ]
    assert [text.get_text() for text in axes.texts[:3]] == ["layer", "output shape", "parameters"]
    assert axes.get_title() == "4 layers, 101,770 parameters"
    assert not frames(axes)


def test_diagram_tints_layers_with_parameters() -> None:
    (axes,) = model_diagram(Sequential([Dense(2, 3), ReLU()]), (1, 2)).axes
    assert [to_hex(box.get_facecolor()) for box in boxes(axes)] == ["#ffffff", "#cfe3f1", "#ffffff"]


def test_diagram_has_arrows_down_from_box_to_box() -> None:
    (axes,) = model_diagram(Sequential([Flatten(), Sequential([ReLU()]), ReLU()]), (1, 2)).axes
    extents = [box.get_path().get_extents(box.get_patch_transform()) for box in boxes(axes)]
    shafts = [arrow.get_path().get_extents() for arrow in arrows(axes)]
    assert len(shafts) == 3
    for above, shaft, below in zip(extents[:-1], shafts, extents[1:], strict=True):
        assert shaft.x0 + shaft.x1 == pytest.approx(above.x0 + above.x1)
        assert shaft.y1 == pytest.approx(above.y0, abs=0.02)
        assert shaft.y0 == pytest.approx(below.y1, abs=0.02)
    for arrow in arrows(axes):
        line = np.asarray(arrow.get_path().vertices)
        assert line[0, 1] == line[:, 1].max()  # starts at the top
        assert type(arrow.get_arrowstyle()).__name__ == "CurveFilledB"  # a head at its end


def test_diagram_frames_a_sequential_in_the_sequential(legible: Legible) -> None:
    innermost = Sequential([ReLU(), Dense(3, 2)])
    chain = Sequential([Dense(4, 3), innermost, ReLU()])
    last = Sequential([Rescale(2)])
    figure = model_diagram(Sequential([Flatten(), chain, Rescale(1), last]), (1, 2, 2))
    (axes,) = figure.axes
    assert axes.get_title() == "7 layers, 23 parameters"
    legible(figure)
    outer, inner, other = frames(axes)
    held = [[around(frame, box) for box in boxes(axes)] for frame in (outer, inner, other)]
    #                  x      0      1.0    1.1.0  1.1.1  1.2    2      3.0
    assert held[0] == [False, False, True, True, True, True, False, False]
    assert held[1] == [False, False, False, True, True, False, False, False]
    assert held[2] == [False, False, False, False, False, False, False, True]
    assert texts_in(axes, outer)[:2] == ["1  Sequential", "1.1  Sequential"]
    assert texts_in(axes, inner)[0] == "1.1  Sequential"
    assert texts_in(axes, other)[0] == "3  Sequential"
    assert outer.get_bbox().x0 < inner.get_bbox().x0
    assert outer.get_linestyle() == "--"
    assert to_hex(boxes(axes)[4].get_facecolor()) == "#cfe3f1"
    low, high = axes.get_ylim()
    assert low < other.get_bbox().y0
    assert high > 0


class Long(Layer):
    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, x: Array) -> Array:
        return x.copy()

    backward = forward

    def __repr__(self) -> str:
        return self.name


def test_diagram_wraps_long_names_and_cuts_longer_ones(legible: Legible) -> None:
    long = f"Long({', '.join(map(str, range(20)))})"
    longer = f"Longer({', '.join(map(str, range(200)))})"
    model = Sequential([Long(long), Long(longer), Long("L" * 45)])
    figure = model_diagram(model, np.zeros((2, 3), np.uint8))
    (axes,) = figure.axes
    legible(figure)
    names = [texts_in(axes, box)[1] for box in boxes(axes)[1:]]
    assert names[0].replace("\n", " ") == long
    assert len(names[0].splitlines()) == 2
    assert len(names[1].splitlines()) == 3
    assert names[1].endswith(" ...")
    assert names[2].replace("\n", "") == "L" * 45
    assert all(len(line) <= 40 for name in names for line in name.splitlines())


def test_diagram_does_not_change_the_model() -> None:
    model = Sequential([Dense(2, 1, rng=0)])
    x = np.ones((3, 2), np.float32)
    y = model(x)
    (axes,) = model_diagram(model, x).axes
    assert axes.get_title() == "1 layer, 3 parameters"
    assert axes.get_aspect() == 1
    model.backward(y)  # the saved values of the forward are still there
    assert model.training


@pytest.mark.parametrize(
    ("model", "x", "sentence"),
    [
        (ReLU(), (1, 2), "model_diagram expects a Sequential, got ReLU()"),
        (Sequential([ReLU()]), 3, "Sequential expects an array or the shape of one, got 3"),
        (
            Sequential([ReLU(), Dense(3, 2)]),
            (1, 2),
            "layer 2 of 2: Dense(3, 2) expects x of shape (..., 3), got (1, 2) from layer 1, "
            "ReLU(); in_features=2 would fit it",
        ),
    ],
)
def test_diagram_refuses_a_model_or_shape_that_does_not_fit(
    model: Any, x: Any, sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        model_diagram(model, x)
    assert str(error.value) == sentence
    assert not plt.get_fignums()
