"""The profile of a training step as bars, a row for each layer."""

import numpy as np
from matplotlib.figure import Figure

from tinynet.errors import InputError
from tinynet.plots.style import BLUE, GREY, VERMILION, new_figure
from tinynet.profiling import Profile

# Hatches tell the parts apart in grey print.
_PARTS = (("forward", BLUE, ""), ("backward", VERMILION, "///"), ("update", GREY, "..."))
_LONGEST = 40  # characters of a name


def profile(profile: Profile) -> Figure:
    """The milliseconds of each layer, loss and optimizer in a step: forward, backward and update.

    At the end of a bar stands its share of the step, and for a layer with products the share of
    the ceiling that it reaches.

    Raises:
        InputError: it is not the result of `tinynet.profile`.

    >>> from tinynet.profiling import ProfileRow
    >>> rows = ProfileRow("Dense(4, 3)", 0.002, 0.004), ProfileRow("SGD", update=0.002)
    >>> [text.get_text() for text in profile(Profile(rows, steps=20, ceiling=100.0)).axes[0].texts]
    ['75%', '25%']
    """
    if not isinstance(profile, Profile):
        raise InputError(
            "plots.profile expects the result of tinynet.profile(trainer, x, y), "
            f"got a {type(profile).__name__}"
        )
    rows = profile.rows
    figure, axis = new_figure((8.0, 1.2 + 0.3 * len(rows)))
    left = np.zeros(len(rows))
    for part, colour, hatch in _PARTS:
        width = np.array([1e3 * getattr(row, part) for row in rows])
        axis.barh(
            range(len(rows)), width, left=left, label=part, color=colour, hatch=hatch, edgecolor="w"
        )
        left += width
    for at, row in enumerate(rows):
        ceiling = f", {row.gflops / profile.ceiling:.0%} of ceiling" if row.operations else ""
        axis.annotate(
            f"{profile.share(row):.0%}{ceiling}",
            (left[at], at),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    names = (row.name for row in rows)
    short = [n if len(n) <= _LONGEST else f"{n[: _LONGEST - 1]}…" for n in names]
    axis.set_yticks(range(len(rows)), short, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.35 * (left.max() or 1.0))  # space for the texts
    axis.set_xlabel(f"milliseconds (a step takes {1e3 * profile.seconds:.3g})")
    axis.legend(loc="lower right", fontsize=8)
    return figure
