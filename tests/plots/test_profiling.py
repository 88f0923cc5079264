from collections.abc import Callable

import pytest
from matplotlib.figure import Figure

from tinynet import InputError, plots
from tinynet.profiling import Profile, ProfileRow

ROWS = (
    ProfileRow("layers.0  Dense(784, 128)", 0.002, 0.003, 0.0, 50_000_000),
    ProfileRow("layers.1  " + "a long name " * 10, 0.001, 0.0),
    ProfileRow("SGD", update=0.004),
)


def test_a_bar_is_forward_backward_and_update_one_after_another(
    legible: Callable[[Figure], None],
) -> None:
    figure = plots.profile(Profile(ROWS, steps=20, ceiling=100.0))
    (axis,) = figure.axes
    drawn = {
        group.get_label(): [(bar.get_x(), bar.get_width()) for bar in group]
        for group in axis.containers
    }
    assert drawn == {
        "forward": [(0, 2), (0, 1), (0, 0)],
        "backward": [(2, 3), (1, 0), (0, 0)],
        "update": [(5, 0), (1, 0), (0, 4)],
    }
    assert [text.get_text() for text in axis.texts] == ["50%, 10% of ceiling", "10%", "40%"]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[0] == "layers.0  Dense(784, 128)"
    assert labels[1].endswith("…")
    assert len(labels[1]) == 40
    assert axis.yaxis_inverted()
    assert axis.get_xlabel() == "milliseconds (a step takes 10)"
    legible(figure)


def test_the_parts_of_a_bar_differ_in_hatch_as_well_as_in_colour() -> None:
    (axis,) = plots.profile(Profile(ROWS, steps=20, ceiling=100.0)).axes
    bars = [group[0] for group in axis.containers]
    assert len({bar.get_facecolor() for bar in bars}) == len({bar.get_hatch() for bar in bars}) == 3


def test_a_profile_without_time_can_be_drawn() -> None:
    (axis,) = plots.profile(Profile((ProfileRow("Flatten()"),), steps=1, ceiling=100.0)).axes
    assert [text.get_text() for text in axis.texts] == ["0%"]


def test_profile_refuses_what_tinynet_profile_did_not_return() -> None:
    with pytest.raises(InputError) as error:
        plots.profile([0.1, 0.2])  # type: ignore[arg-type]  # the mistake
    assert str(error.value) == (
        "plots.profile expects the result of tinynet.profile(trainer, x, y), got a list"
    )
