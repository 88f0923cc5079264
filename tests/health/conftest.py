import importlib

import pytest

from tinynet import Array, Layer
from tinynet.gradcheck import check_gradients
from tinynet.health import model_checks

# The gradient check takes most of the time: these leave it out, or that of the model but not that
# of the loss. TestGradientFaults and TestNothingChanges run it.


@pytest.fixture
def _no_gradient_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_checks, "check_gradients", lambda *_, **__: None)


@pytest.fixture
def _no_model_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_loss(layer: Layer, *inputs: Array, entries: int | None = None) -> None:
        if entries is None:
            check_gradients(layer, *inputs)

    monkeypatch.setattr(model_checks, "check_gradients", check_loss)


@pytest.fixture
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("tinynet.health.preflight")
    for probe in ("learning_rate", "relation"):
        monkeypatch.setattr(module, probe, lambda *_: [])
