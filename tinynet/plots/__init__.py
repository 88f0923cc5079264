"""Plots of training, predictions, weights, activations and gradients, with matplotlib.

Each function returns a matplotlib `Figure`, and neither shows nor saves it:

    figure = plots.learning_curves(history)
    figure.savefig("curves.png", dpi=300)

A notebook draws a figure where it is the last line of a cell, or by `display(figure)`. pyplot does
not know it: `plt.show()` shows nothing, and nothing has to be closed.

All plots can be read in black and white print and by colour-blind people. `import tinynet` does not
import this package, because it needs matplotlib.
"""

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        'tinynet.plots needs matplotlib: in a clone, pip install -e ".[examples]"'
    ) from error

from tinynet.plots.diagram import model_diagram
from tinynet.plots.layers import activation_histograms, first_layer_weights, gradient_histograms
from tinynet.plots.predictions import confident_mistakes, confusion_matrix, sample_predictions
from tinynet.plots.profiling import profile
from tinynet.plots.training import learning_curves

__all__ = [
    "activation_histograms",
    "confident_mistakes",
    "confusion_matrix",
    "first_layer_weights",
    "gradient_histograms",
    "learning_curves",
    "model_diagram",
    "profile",
    "sample_predictions",
]
