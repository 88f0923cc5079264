"""`profile` counts what a step does from its shapes; no test here asserts a time."""

from html.parser import HTMLParser

import numpy as np
import pytest

from tinynet import (
    GRU,
    SGD,
    Adam,
    Array,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    InputError,
    Layer,
    MultiHeadAttention,
    Parameter,
    ReLU,
    Rescale,
    Residual,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    profile,
)
from tinynet import profiling as module
from tinynet.profiling import Profile, ProfileRow

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CEILING", 64)


def trainer_of(*layers: Layer) -> Trainer:
    model = Sequential(layers)
    return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1, momentum=0.9))


def rows_of(trainer: Trainer, x: Array, classes: int = 3) -> dict[str, ProfileRow]:
    found = profile(trainer, x, np.arange(len(x)) % classes, steps=2)
    return {row.name.partition("  ")[0]: row for row in found.rows}


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def test_every_layer_the_loss_and_the_optimizer_have_a_row_in_their_order() -> None:
    trainer = trainer_of(Dense(4, 5), Residual([Dense(5, 5), ReLU()]), Dense(5, 3))
    found = profile(trainer, floats(6, 4), np.zeros(6, np.int64), steps=2)
    assert [row.name for row in found.rows] == [
        "Sequential",
        "layers.0  Dense(4, 5)",
        "layers.1  Residual",
        "layers.1.body  Sequential",
        "layers.1.body.layers.0  Dense(5, 5)",
        "layers.1.body.layers.1  ReLU()",
        "layers.2  Dense(5, 3)",
        "loss  SoftmaxCrossEntropy()",
        "SGD",
    ]
    for row in found.rows[:-1]:
        assert row.forward > 0
        assert row.backward > 0
        assert row.update == 0
    assert found.rows[-1].update > 0
    assert found.seconds == pytest.approx(sum(row.seconds for row in found.rows))
    assert sum(map(found.share, found.rows)) == pytest.approx(1)
    assert found.ceiling > 0


def test_a_dense_layer_has_two_operations_for_each_weight_and_row_three_times() -> None:
    rows = rows_of(trainer_of(ReLU(), Dense(4, 5), Dense(5, 3)), floats(6, 4))
    assert rows["layers.2"].operations == 3 * 2 * 6 * 5 * 3  # y, dx and dw
    assert rows["layers.0"].operations == rows["loss"].operations == 0


def test_the_first_layer_on_bytes_has_no_product_for_dx() -> None:
    pixels = np.zeros((6, 2, 2), np.uint8)
    rows = rows_of(trainer_of(Flatten(), Rescale(1 / 255), Dense(4, 3)), pixels)
    assert rows["layers.2"].operations == 2 * 2 * 6 * 4 * 3
    assert rows["layers.2"].written == 4 * (6 * 3 + 4 * 3 + 3)  # y, dw and db
    assert rows["layers.0"].backward == 0


@pytest.mark.parametrize(
    ("layer", "shape", "operations"),
    [
        # for each output position and channel the inputs that the kernel sees
        (Conv2D(4, 6, 3, padding=1, groups=2, rng=0), (5, 4, 7, 8), 2 * 5 * 7 * 8 * 6 * 2 * 9),
        # for each input position and channel the outputs that it reaches
        (ConvTranspose2D(4, 6, 2, stride=2, rng=0), (5, 4, 3, 3), 2 * 5 * 3 * 3 * 4 * 6 * 4),
        # three gates of the input and of the state
        (GRU(4, 6, rng=0), (5, 7, 4), 2 * 5 * 7 * 3 * 6 * (4 + 6)),
        # q, k, v and the output; the scores and their product with v
        (MultiHeadAttention(8, 2, rng=0), (5, 7, 8), 2 * 5 * 7 * 4 * 64 + 2 * 2 * 5 * 7 * 7 * 8),
        (Dense(4, 6, rng=0), (5, 7, 4), 2 * 5 * 7 * 4 * 6),
        (ReLU(), (5, 7), 0),
    ],
)
def test_operations_of_a_forward_are_those_of_the_loops_of_its_formula(
    layer: Layer, shape: tuple[int, ...], operations: int
) -> None:
    x = floats(*shape)
    assert module._operations(layer, x, layer(x)) == operations


def test_bytes_written_are_those_of_outputs_gradients_and_slots() -> None:
    rows = rows_of(trainer_of(Dense(4, 5), ReLU(), Dense(5, 3)), floats(6, 4))
    assert rows["layers.1"].written == 4 * (6 * 5 + 6 * 5)  # y and dx
    assert rows["layers.2"].written == 4 * (6 * 3 + 6 * 5 + 5 * 3 + 3)
    values = 4 * (4 * 5 + 5 + 5 * 3 + 3)
    assert rows["SGD"].written == 2 * values  # and momentum


class Twice(Layer):
    """A layer of a user, which calls the layer inside twice and keeps a parameter of its own."""

    def __init__(self) -> None:
        self.scale = Parameter(np.ones(3))
        self.inner = ReLU()

    def forward(self, x: Array) -> Array:
        y: Array = self.inner(self.inner(x=x)) * self.scale.value
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        self.scale.grad = (dy * np.maximum(x, 0)).sum(axis=0)
        dx: Array = self.inner.backward(dy=dy * self.scale.value)
        return dx


def test_calls_of_a_layer_in_a_step_add_up_and_are_not_counted_in_the_layer_around_it() -> None:
    rows = rows_of(trainer_of(Dense(4, 3), Twice()), floats(6, 4))
    assert rows["layers.1.inner"].written == 4 * 3 * (6 * 3)  # two y and one dx
    assert rows["layers.1"].written == 4 * (2 * 6 * 3 + 3)
    ticks = iter(range(100))
    clock = module._Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "perf_counter", lambda: float(next(ticks)))
        clock.start_step()
        clock.time("outer", "forward", lambda: clock.time("inner", "forward", lambda: None))
    assert clock.median("inner", "forward") == 1  # from 1 to 2
    assert clock.median("outer", "forward") == 2  # from 0 to 3, without the one inside


def test_profile_changes_nothing() -> None:
    trainer = trainer_of(Dense(4, 8), Dropout(0.5, rng=0), Dense(8, 3))
    x, y = floats(6, 4), np.zeros(6, np.int64)
    before = [p.value.copy() for p in trainer.model.parameters()]
    profile(trainer, x, y, steps=2)
    for value, parameter in zip(before, trainer.model.parameters(), strict=True):
        np.testing.assert_array_equal(value, parameter.value)
        assert parameter.grad is None
    assert trainer.optimizer.steps == trainer.step == 0
    (generator,) = trainer.model.generators().values()
    assert generator.random() == np.random.default_rng(0).random()
    assert all("forward" not in vars(layer) for _, layer in trainer.model.named_layers())


def test_float64_samples_are_cast_as_in_fit() -> None:
    rows = rows_of(trainer_of(Dense(4, 3)), floats(6, 4).astype(np.float64))
    assert rows["layers.0"].written == 4 * (6 * 3 + 4 * 3 + 3) + rows_dx(rows)


def rows_dx(rows: dict[str, ProfileRow]) -> int:
    """The bytes of the first dx, which a step may leave out."""
    products = rows["layers.0"].operations // (2 * 6 * 4 * 3)
    return 4 * 6 * 4 * (products - 2)


class Cells(HTMLParser):
    """The texts of a table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.texts += [data] if data.strip() else []


FOUND = Profile(
    (
        ProfileRow("layers.0  Dense(4, 3)", 0.001, 0.002, 0.0, 30_000_000, 2_500_000),
        ProfileRow("SGD", update=0.001, written=500_000),
    ),
    steps=20,
    ceiling=100.0,
)


def test_a_profile_prints_a_table_with_the_step_as_its_last_row() -> None:
    assert repr(FOUND).splitlines() == [
        "layer                     ms   share  forward  backward  GFLOP/s  of ceiling  MB written",
        "layers.0  Dense(4, 3)  3.000   75.0%    1.000     2.000     10.0         10%       2.500",
        "SGD                    1.000   25.0%                                               0.500",
        "step                   4.000  100.0%    1.000     2.000      7.5          8%       3.000",
        "median of 20 steps; ceiling 100 GFLOP/s",
    ]
    texts = Cells(FOUND._repr_html_()).texts
    assert texts[0] == "median of 20 steps; ceiling 100 GFLOP/s"
    assert texts[1:9] == list(module.HEAD)
    assert texts[9:12] == ["layers.0  Dense(4, 3)", "3.000", "75.0%"]


def test_a_row_without_time_has_no_speed_and_no_share() -> None:
    row = ProfileRow("Flatten()")
    assert row.gflops == Profile((row,), 1, 100.0).share(row) == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda t, x, y: profile(t.model, x, y),
            "profile expects a Trainer, got a Sequential: profile(Trainer(model, loss, optimizer), "
            "x, y)",
        ),
        (lambda t, x, y: profile(t, x, y, steps=0), "profile expects steps to be a whole number"),
        (lambda t, x, y: profile(t, x.tolist(), y), "profile expects x to be a NumPy array"),
        (lambda t, x, y: profile(t, x, y.tolist()), "profile expects y to be a NumPy array"),
        (
            lambda t, x, y: profile(t, x, y[:5]),
            "profile expects a batch, x and y with one number of samples, got 6 and 5",
        ),
        (lambda t, x, y: profile(t, x[:0], y[:0]), "got 0 and 0"),
        (lambda t, x, y: profile(t, x[:, :2], y), "expects x of shape (..., 4), got (6, 2)"),
    ],
)
def test_profile_refuses_what_is_no_trainer_or_no_batch(call: object, sentence: str) -> None:
    assert callable(call)
    with pytest.raises(InputError) as error:
        call(trainer_of(Dense(4, 3)), floats(6, 4), np.zeros(6, np.int64))
    assert sentence in str(error.value)


def test_an_optimizer_with_two_slots_writes_three_arrays_a_parameter() -> None:
    model = Sequential([Dense(4, 3)])
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters(), 0.1))
    assert rows_of(trainer, floats(6, 4))["Adam"].written == 3 * 4 * (4 * 3 + 3)
