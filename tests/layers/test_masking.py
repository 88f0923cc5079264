"""How padding masks travel through networks, and which layers refuse them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contract_cases import CASES
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    GRU,
    LSTM,
    RNN,
    Accuracy,
    Adam,
    Array,
    BatchNorm,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool1D,
    GroupNorm,
    InputError,
    Lambda,
    Layer,
    LayerNorm,
    LogSoftmax,
    Masking,
    MultiHeadAttention,
    Parallel,
    Permute,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    RMSNorm,
    Select,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Sum,
    Tanh,
    Trainer,
    TransformerBlock,
)
from tinynet.gradcheck import check_gradients
from tinynet.layers.masking import Masked

IDS = np.array([[5, 3, 0, 0], [1, 2, 3, 4], [6, 0, 0, 0]])
MASK = IDS == 0


def embedding(**settings: Any) -> Embedding:
    return Embedding(9, 4, **{"padding_idx": 0, "rng": 0, **settings})


def doubled(dy: Array, _: Array) -> Array:
    return np.asarray(2 * dy)


# Each takes (N, T, 4) and returns one row for each sequence.
BODIES: dict[str, Callable[[], list[Layer]]] = {
    "the last state": lambda: [GRU(4, 3, states="last", rng=1)],
    "states of both directions, pooled": lambda: [
        Bidirectional(LSTM(4, 2, rng=1)),
        Sequential([Dropout(0.0), Bidirectional(RNN(4, 2, rng=2))]),
        GlobalPool1D("max"),
    ],
    "a transformer, pooled": lambda: [
        TransformerBlock(4, 2, rng=1),
        TransformerBlock(4, 2, rng=2, norm_first=False, activation="relu"),
        LayerNorm(4),
        GlobalPool1D("mean"),
    ],
    "branches": lambda: [
        Residual([RMSNorm(4), MultiHeadAttention(4, 1, rng=1)]),
        Residual(GRU(4, 3, rng=2), Dense(4, 3, rng=3)),
        Concatenate([[GRU(3, 2, rng=4), Softmax()], ReLU()], axis=-1),
        Sum([Dense(5, 4, rng=5), [Rescale(0.5), LogSoftmax(), RNN(5, 4, rng=6)]]),
        Parallel([Tanh(), GRU(2, 2, rng=7)], axis=-1),
        Select(slice(1, 4), axis=2),
        Concatenate([GlobalPool1D("last"), GRU(3, 2, states="last", rng=8)]),
    ],
}
each_body = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


# The mask travels


@each_body
@given(left=st.integers(0, 3), right=st.integers(0, 3))
def test_padding_on_either_side_changes_neither_the_output_nor_a_gradient(
    body: Callable[[], list[Layer]], left: int, right: int
) -> None:
    model = Sequential([embedding(), *body()]).astype(np.float64)
    ids = np.array([[5, 3], [1, 7]])
    y = model(ids)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    model.backward(dy)
    grads = [parameter.grad for parameter in model.parameters()]
    padded = np.pad(ids, ((0, 0), (left, right)))
    np.testing.assert_allclose(model(padded), y, rtol=1e-12, atol=1e-12)
    model.backward(dy)
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        got, expected = np.asarray(parameter.grad), np.asarray(grad)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@each_body
def test_the_mask_of_an_embedding_is_one_that_the_user_passes(
    body: Callable[[], list[Layer]],
) -> None:
    started = Sequential([embedding(), *body()])
    passed = Sequential([embedding(mask=False), *body()])
    assert np.array_equal(started(IDS), passed(IDS, padding_mask=MASK))
    assert not np.array_equal(started(IDS), passed(IDS))
    layers = Sequential(body())
    x = embedding()(IDS)
    assert np.array_equal(layers(x, padding_mask=MASK), started(IDS))
    one_by_one = started.predict(IDS, batch_size=1)
    np.testing.assert_allclose(one_by_one, started(IDS), rtol=1e-5, atol=1e-6)


@each_body
def test_a_chain_inside_a_chain_starts_and_passes_the_mask_as_one_chain_does(
    body: Callable[[], list[Layer]],
) -> None:
    flat = Sequential([embedding(), *body()])
    nested = Sequential([Sequential([embedding(), Dropout(0.0)]), Sequential(body())])
    assert np.array_equal(nested(IDS), flat(IDS))
    assert np.array_equal(nested.walk(IDS)[-1][2], flat(IDS))


@pytest.mark.gradients
def test_gradients_of_a_network_of_padded_sequences() -> None:
    model = Sequential(
        [
            Embedding(3, 2, padding_idx=0, rng=0),
            Residual(Sequential([LayerNorm(2), MultiHeadAttention(2, 1, rng=1)])),
            Bidirectional(RNN(2, 1, rng=2)),
            Concatenate([GlobalPool1D("max"), GRU(2, 1, states="last", rng=3)]),
        ]
    )
    check_gradients(model, np.array([[1, 2, 0], [0, 2, 0]]), rng=0)


# Of PyTorch 2.13: y at the real steps of two TransformerEncoderLayers with src_key_padding_mask,
# and the gradient by the embeddings 1 to 4, for dy = sin(0), sin(1), ... at the real steps.
TORCH_Y = """
-12.471821507751526 -12.79477929838581 -2.297079563391968 16.21818388831918
-10.949779993813971 -11.521706758567806 -3.0507942895544233 14.466755886573134
4.222581520802107 -3.546656412545119 -6.277117106084912 2.767566577719069
2.2920519370205854 -8.113538609809595 -7.790094933178716 2.7196298048052325"""
TORCH_GRADIENT = """
4.496182409221994 -2.5611458659016306 -4.813812561939424 1.540620349167858
-3.291176567334337 -4.161446997820981 1.7251564997827242 5.584932479797659
-0.5826183309310702 1.4055598040000863 1.4624226489243455 -0.3934757022999163
-1.7154675410238962 1.1104882753022367 2.158435445850827 -0.0289668654509746"""


def sines(shape: tuple[int, ...], k: int) -> Array:
    return np.asarray(np.sin(np.arange(np.prod(shape)) * 1.3 + k).reshape(shape))


def test_masks_through_a_transformer_are_the_src_key_padding_mask_of_pytorch() -> None:
    def block() -> TransformerBlock:
        return TransformerBlock(4, 2, dim_feedforward=3, activation="relu")

    model = Sequential([Embedding(5, 4, padding_idx=0), block(), block()]).astype(np.float64)
    tables: Any = model[0]
    tables.weight.value[...] = sines((5, 4), 77)
    for index, layer in enumerate(model[1:]):
        one: Any = layer
        weights = [*one.self_attn.parameters(), *one.linear1.parameters()]
        for k, weight in enumerate([*weights, *one.linear2.parameters()], 8 * index):
            dense = weight is one.linear1.weight or weight is one.linear2.weight
            shape = weight.value.shape
            weight.value[...] = sines(shape[::-1], k).T if dense else sines(shape, k)
    ids = np.array([[3, 1, 0], [0, 2, 4]])
    real = ids != 0
    y = model(ids)
    np.testing.assert_allclose(y[real].ravel(), np.array(TORCH_Y.split(), float), rtol=1e-12)
    dy = np.zeros_like(y)
    dy[real] = np.sin(np.arange(16.0)).reshape(4, 4)
    model.backward(dy)
    expected = np.array(TORCH_GRADIENT.split(), float).reshape(4, 4)
    np.testing.assert_allclose(tables.weight.grad[1:], expected, rtol=1e-11)
    assert not tables.weight.grad[0].any()


def test_a_trainer_learns_right_padded_sequences_with_the_last_state() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, 400)
    ids = rng.integers(3, 9, (400, 12))
    ids[np.arange(400), lengths - 1] = labels = rng.integers(1, 3, 400)  # the last word decides
    ids[np.arange(12) >= lengths[:, np.newaxis]] = 0
    model = Sequential([embedding(), GRU(4, 8, states="last", rng=1), Dense(8, 2, rng=2)])
    optimizer = Adam(model.parameters(), 0.02)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], seed=0)
    trainer.fit(ids, labels - 1, epochs=8, batch_size=32)
    assert trainer.evaluate(ids, labels - 1)["accuracy"] == 1.0


# Masking starts a mask for sequences of numbers


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_masking_takes_steps_of_one_value_for_padding(value: float) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 4))
    x[MASK] = value
    x[1, 0, 1] = np.nan_to_num(value)  # one feature of a real step is no padding
    masking = Masking(value)
    y = masking(x)
    assert np.array_equal(y[~MASK], x[~MASK])
    assert not y[MASK].any()
    dx = masking.backward(np.ones_like(y))
    assert np.array_equal(dx, np.ones((3, 4, 4)) * ~MASK[..., np.newaxis])
    model = Sequential([masking, *BODIES["a transformer, pooled"]()])
    expected = Sequential(BODIES["a transformer, pooled"]())(y, padding_mask=MASK)
    assert np.array_equal(model(x), expected)


def test_masking_refuses_what_is_no_number_and_x_without_steps() -> None:
    with pytest.raises(
        InputError, match=r"^Masking expects mask_value to be a number, got 'zero'$"
    ):
        Masking("zero")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"expects x of shape \(N, T, D\), got \(2, 3\)"):
        Masking()(np.zeros((2, 3)))
    assert repr(Masking(-1)) == "Masking(mask_value=-1)"


# The mask of y


def test_output_mask_is_the_mask_of_the_steps_of_y() -> None:
    model: Any = Sequential([embedding(), Bidirectional(GRU(4, 2)), Dense(4, 3)])
    assert np.array_equal(model.output_mask(IDS), MASK)
    other = np.zeros_like(MASK)
    other[0, 0] = True
    assert np.array_equal(model.output_mask(IDS, other), MASK | other)
    assert Sequential([embedding(mask=False), GRU(4, 3)]).output_mask(IDS) is None
    assert (model + Sequential([GlobalPool1D()])).output_mask(IDS) is None
    assert (model + Sequential([LSTM(3, 2, states="last")])).output_mask(IDS) is None
    assert Sequential([Dense(4, 3)]).output_mask(np.ones((3, 4)), other) is other


def test_labels_of_padded_steps_are_ignored_with_the_output_mask() -> None:
    model: Any = Sequential([embedding(), GRU(4, 3, rng=1), Dense(3, 9, rng=2)])
    loss, labels = SoftmaxCrossEntropy(), (IDS + 1) % 9
    ignored = np.where(model.output_mask(IDS), -100, labels)
    rows = [model(IDS[n : n + 1, :length])[0] for n, length in enumerate((2, 4, 1))]
    expected = loss(np.concatenate(rows), labels[~MASK])
    assert loss(model(IDS), ignored) == pytest.approx(expected, rel=1e-6)


def test_only_sequences_of_ids_start_a_mask() -> None:
    for ids in (np.array([0, 1, 2]), np.zeros((2, 3, 4), int)):
        assert embedding().output_mask(ids) is None
    assert Sequential([embedding(), Dense(4, 2)])(np.array([0, 1, 2])).shape == (3, 2)


def test_embeddings_start_masks_in_branches_and_behind_other_layers() -> None:
    positions = Lambda(lambda ids: np.arange(ids.shape[1]) + 0 * ids, doubled)
    summed = Sum([embedding(), [positions, Embedding(4, 4, rng=1)]])
    model = Sequential([summed, GRU(4, 2, states="last", rng=2)])
    for sample, length in enumerate((2, 4, 1)):
        alone = model(IDS[sample : sample + 1, :length])
        np.testing.assert_allclose(model(IDS)[sample], alone[0], rtol=1e-5)
    behind: Any = Sequential([Sequential([Select(0, axis=2), embedding()]), GRU(4, 2, rng=2)])
    columns = np.stack([IDS, IDS + 1], axis=2)
    assert np.array_equal(behind.output_mask(columns), MASK)
    assert np.array_equal(behind(columns), Sequential([embedding(), behind[1]])(IDS))


def test_a_mask_travels_for_an_empty_batch_and_for_shapes() -> None:
    model = Sequential([embedding(), GRU(4, 3), TransformerBlock(3, 1), GlobalPool1D()])
    assert model(np.zeros((0, 5), int)).shape == (0, 3)
    assert model.output_shape((8, 5)) == (8, 3)


# Layers without masks


@pytest.mark.parametrize(
    "layer",
    [
        Flatten(),
        Reshape((16,)),
        Permute((0, 2, 1)),
        Select(-1),
        Select(0, axis=2),
        BatchNorm(4),
        GroupNorm(1, 4),
        LayerNorm((4, 4)),
        RMSNorm((4, 4)),
        Softmax(axis=1),
        LogSoftmax(axis=-2),
        Lambda(np.sin, lambda dy, x: dy * np.cos(x)),
        Residual([Permute((0, 2, 1)), Permute((0, 2, 1))]),
        Residual(ReLU(), Permute((0, 2, 1))),
        Sum([ReLU(), BatchNorm(4)]),
    ],
    ids=repr,
)
def test_a_layer_that_may_mix_time_steps_refuses_padded_ones(layer: Layer) -> None:
    model = Sequential([embedding(), layer])
    with pytest.raises(
        InputError,
        match=r"^layer 2 of 2: .*expects x without padded steps, got a padding_mask: it may mix "
        r"time steps; GlobalPool1D\(\) or states='last' before it leaves the padded ones out, ",
    ):
        model(IDS)
    no_mask = Sequential([embedding(mask=False), layer])  # the remedy that the error names
    assert no_mask(IDS).shape[0] == 3


def test_a_layer_of_the_user_keeps_the_mask_where_it_says_so() -> None:
    double = Lambda(lambda x: 2 * x, doubled)
    model = Sequential([embedding(), double, GRU(4, 2, rng=0)])
    with pytest.raises(InputError, match="keeps_mask = True in a layer says that it treats each"):
        model(IDS)
    double.keeps_mask = True
    assert not model(IDS)[MASK].any()


def test_outputs_are_not_concatenated_along_the_steps_of_padded_sequences() -> None:
    for axis in (1, -2):
        model = Sequential([embedding(), Concatenate([ReLU(), Tanh()], axis=axis)])
        with pytest.raises(InputError, match=r"that of the steps; axis=-1 concatenates features$"):
            model(IDS)


def test_a_mask_that_does_not_fit_is_refused_where_it_is_used() -> None:
    model = Sequential([Dense(4, 4), GRU(4, 2)])
    with pytest.raises(
        InputError,
        match=r"^layer 2 of 2: GRU\(4, 2\) expects padding_mask .*\(2, 3\), got \(2, 4\)",
    ):
        model(np.ones((2, 3, 4)), padding_mask=np.zeros((2, 4), bool))


STEPWISE = {
    name: case
    for name, case in CASES.items()
    if case.make().keeps_mask and not isinstance(case.make(), Masked) and len(case.shape) in (2, 3)
}


@pytest.mark.parametrize("name", STEPWISE)
def test_layers_that_keep_the_mask_treat_each_step_by_itself(name: str) -> None:
    case = STEPWISE[name]
    x = np.random.default_rng(0).standard_normal((2, 3, case.shape[-1])).astype(np.float32)
    before = case.make()(x)
    x[:, 1] += 1
    after = case.make()(x)
    assert before.shape[:2] == x.shape[:2]
    assert np.array_equal(before[:, [0, 2]], after[:, [0, 2]])


def test_most_layers_that_work_step_by_step_are_known() -> None:
    kinds = {type(case.make()).__name__ for case in STEPWISE.values()}
    assert {"Dense", "ReLU", "GELU", "Sigmoid", "Dropout", "LayerNorm", "RMSNorm"} <= kinds
    assert {"Softmax", "LogSoftmax", "Rescale", "PositionalEmbedding", "Select"} <= kinds
