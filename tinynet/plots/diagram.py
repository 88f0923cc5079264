"""A diagram of a network: its layers as boxes from top to bottom, with their output shapes."""

import copy
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from tinynet.errors import InputError
from tinynet.layers.sequential import Sequential
from tinynet.plots.style import BLUE, GREY, new_figure
from tinynet.samples import Samples
from tinynet.summary import shape_text

# All lengths are in inches. The texts are monospaced, so that their width is known beforehand.
CHARACTER, LINE = 0.0755, 0.16  # at size 9
PAD = 0.12
GAP = 0.22  # between boxes, for the arrow
HEADER = 0.24  # of a frame
LONGEST = 40  # characters of a name on one line


@dataclass
class Box:
    """One layer, or x: its texts and its position."""

    path: str
    lines: list[str]
    shape: str
    count: int | None
    top: float = 0.0
    bottom: float = 0.0


@dataclass
class Frame:
    """A Sequential inside the Sequential, around its boxes."""

    path: str
    top: float
    bottom: float = 0.0

    @property
    def depth(self) -> int:
        """1 inside the outermost Sequential, 2 inside that, and so on."""
        return self.path.count(".") + 1


def model_diagram(model: Sequential, x_or_shape: Samples | Sequence[Any]) -> Figure:
    """The layers from top to bottom, each with its output shape and number of parameters.

    Takes an x or the shape of one, batch axis included, as `summary` does. A Sequential inside the
    Sequential has a frame, and layers with parameters are tinted.

    Raises:
        InputError: the model is not a Sequential, the shape is not one, or a layer refuses it.

    >>> from tinynet import Dense, ReLU
    >>> figure = model_diagram(Sequential([Dense(4, 3), ReLU(), Dense(3, 2)]), (1, 4))
    >>> figure.axes[0].get_title()
    '3 layers, 23 parameters'
    """
    if not isinstance(model, Sequential):
        raise InputError(f"model_diagram expects a Sequential, got {model!r}")
    steps = copy.deepcopy(model).walk(x_or_shape)
    boxes = [Box("", ["x"], shape_text(model.example_input(x_or_shape)), None)]
    for path, layer, y in steps:
        lines = textwrap.wrap(
            repr(layer), LONGEST, max_lines=3, placeholder=" ...", break_on_hyphens=False
        )
        count = sum(parameter.value.size for parameter in layer.parameters())
        boxes.append(Box(path, lines, shape_text(y), count))
    frames = _place(boxes)

    margin = PAD * (1 + max((frame.depth for frame in frames), default=0))
    columns = _columns(boxes)
    bottom = min(item.bottom for items in (boxes, frames) for item in items) - PAD / 2
    left, right, top = -margin, columns[-1] + margin, PAD + LINE
    size = (right - left + 0.2, top - bottom + 0.4)
    figure, axis = new_figure(size)
    axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axis.set_axis_off()
    layers = f"{len(steps)} layers" if len(steps) > 1 else "1 layer"
    total = sum(parameter.value.size for parameter in model.parameters())
    axis.set_title(f"{layers}, {total:,} parameters")
    _draw(axis, boxes, frames, columns)
    return figure


def _place(boxes: Sequence[Box]) -> list[Frame]:
    """Positions each box below the previous one, and returns the frames around them."""
    frames: list[Frame] = []
    around: list[Frame] = []  # the current box, from outside in
    y = GAP
    for box in boxes:
        parts = box.path.split(".")[:-1]
        parents = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
        while around and around[-1].path not in parents:
            y -= PAD
            around.pop().bottom = y
        y -= GAP
        for path in parents[len(around) :]:
            around.append(Frame(path, top=y))
            frames.append(around[-1])
            y -= HEADER
        box.top = y
        y -= len(box.lines) * LINE + PAD
        box.bottom = y
    while around:
        y -= PAD
        around.pop().bottom = y
    return frames


def _columns(boxes: Sequence[Box]) -> tuple[float, float, float, float]:
    """The x at which names and shapes begin, and counts and boxes end."""
    name = PAD + CHARACTER * (2 + max(len(box.path) for box in boxes))
    longest = max(len(line) for box in boxes for line in box.lines)
    shape = max(name + CHARACTER * (longest + 3), 1.5)
    count = shape + CHARACTER * (
        max(len("output shape"), *(len(box.shape) for box in boxes))
        + max(len("parameters"), *(len(f"{box.count or 0:,}") for box in boxes))
        + 3
    )
    return name, shape, count, count + PAD


def _draw(
    axis: Axes,
    boxes: Sequence[Box],
    frames: Sequence[Frame],
    columns: tuple[float, float, float, float],
) -> None:
    name, shape, count, right = columns

    def write(x: float, y: float, text: str, side: str = "left", **more: Any) -> None:
        style: dict[str, Any] = {"family": "monospace", "fontsize": 9, "va": "center", "ha": side}
        axis.text(x, y, text, **style, **more)

    for x, side, heading in (
        (name, "left", "layer"),
        (shape, "left", "output shape"),
        (count, "right", "parameters"),
    ):
        write(x, PAD, heading, side, color=GREY)
    for frame in frames:
        out = PAD * (1 + max(f.depth for f in frames) - frame.depth)
        corner, height = (-out, frame.bottom), frame.top - frame.bottom
        axis.add_patch(
            Rectangle(corner, right + 2 * out, height, fill=False, edgecolor=GREY, linestyle="--")
        )
        write(PAD - out, frame.top - HEADER / 2, f"{frame.path}  Sequential", color=GREY)
    for before, box in pairwise(boxes):
        start, end = (right / 2, before.bottom), (right / 2, box.top)
        axis.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color=GREY
            )
        )
    for box in boxes:
        axis.add_patch(
            FancyBboxPatch(
                (0, box.bottom),
                right,
                box.top - box.bottom,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor="#CFE3F1" if box.count else "white",
                edgecolor=BLUE if box.count else GREY,
            )
        )
        y = (box.top + box.bottom) / 2
        write(PAD, y, box.path, color=GREY)
        write(name, y, "\n".join(box.lines), linespacing=1.1)
        write(shape, y, box.shape)
        if box.count is not None:
            write(count, y, f"{box.count:,}", "right")
