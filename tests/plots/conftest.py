from collections.abc import Callable, Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def legible() -> Callable[[Figure], None]:
    """Draws a figure and fails if a text overlaps another or the edge. Slow: once for a layout."""
    return check_legible


def check_legible(figure: Figure) -> None:
    figure.draw_without_rendering()
    page = figure.bbox
    texts = [t for t in texts_of(figure) if t.get_visible() and t.get_text().strip()]
    boxes = np.array([text.get_window_extent().extents for text in texts])  # (N, 4)
    left, bottom, right, top = boxes.T
    off = (left < page.x0) | (right > page.x1) | (bottom < page.y0) | (top > page.y1)
    assert not off.any(), f"{texts[off.argmax()].get_text()!r} crosses the edge"
    assert (right > left).all()
    overlap = (left[:, None] < right) & (left < right[:, None])
    overlap &= (bottom[:, None] < top) & (bottom < top[:, None])
    np.fill_diagonal(overlap, val=False)
    pairs = [tuple(texts[i].get_text() for i in pair) for pair in np.argwhere(overlap)]
    assert not pairs, f"{pairs[0][0]!r} overlaps {pairs[0][1]!r}"


def texts_of(figure: Figure) -> Iterator[Text]:
    yield from figure.texts
    for axes in figure.axes:
        yield axes.title
        yield from axes.texts
        if not axes.axison:
            continue
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.label
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)
