from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tinynet.plots.style import BLUE, VERMILION, check_array, ink, new_figure, panels


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ("white", "black"),
        ("black", "white"),
        ("#0a0a0a", "white"),
        ("#767676", "black"),
        ("#707070", "white"),
        ("red", "black"),
        ("blue", "white"),
    ],
)
def test_ink_is_black_or_white_by_the_better_contrast(colour: str, expected: str) -> None:
    assert ink(*to_rgb(colour)) == expected


def test_blue_and_vermilion_are_those_of_okabe_and_ito() -> None:
    assert (BLUE, VERMILION) == ("#0072B2", "#D55E00")


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 3))])
def test_panels_fill_a_grid_row_by_row(count: int, grid: tuple[int, int]) -> None:
    figure, axes = panels(count, columns=3, size=(2, 1.5))
    assert figure.axes == axes
    assert len(axes) == count
    spec = axes[0].get_subplotspec()
    assert spec is not None
    assert spec.get_gridspec().get_geometry() == grid
    assert figure.get_size_inches().tolist() == [2 * grid[1], 1.5 * grid[0]]
    engine = figure.get_layout_engine()
    assert type(engine).__name__ == "ConstrainedLayoutEngine"


def test_a_figure_is_unknown_to_pyplot_and_gives_a_notebook_its_picture() -> None:
    for figure in (new_figure((2, 1))[0], panels(2, columns=2, size=(1, 1))[0]):
        assert not plt.get_fignums()
        assert repr(figure) == f"<Figure size 200x100 with {len(figure.axes)} Axes>"
        picture = figure._repr_png_()
        assert picture.startswith(b"\x89PNG")
        assert plt.imread(BytesIO(picture)).shape == (100, 200, 4)


def test_a_letter_in_a_shape_is_any_size_but_zero() -> None:
    check_array("histogram", "x", np.zeros((2, 3)), "N", 3)
    with pytest.raises(ValueError, match=r"^histogram expects x of shape \(N, 3\), got \(0, 3\)$"):
        check_array("histogram", "x", np.zeros((0, 3)), "N", 3)
