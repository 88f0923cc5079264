import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    Array,
    Concatenate,
    Dense,
    Embedding,
    Flatten,
    GlobalPool1D,
    GradientCheckError,
    Heads,
    InputError,
    Lambda,
    Layer,
    Parallel,
    ReLU,
    Rescale,
    Residual,
    Sequential,
    Sum,
    check_gradients,
)
from tinynet.testing import check_layer, floats

small = st.integers(1, 3)
widths = st.lists(small, min_size=1, max_size=3)
rows = st.tuples(small, small)


def summed(features: int, count: int) -> Layer:
    return Sum([[Dense(features, 2, rng=seed), ReLU()] for seed in range(count)])


def concatenated(features: int, outputs: list[int], axis: int = 1) -> Layer:
    return Concatenate(
        [Dense(features, width, rng=seed) for seed, width in enumerate(outputs)], axis=axis
    )


def parallel(outputs: list[int]) -> Layer:
    """Parts of 1, 2, ... features."""
    parts = list(range(1, len(outputs) + 1))
    return Parallel(
        [Dense(part, width, rng=part) for part, width in zip(parts, outputs, strict=True)],
        sizes=parts,
    )


def residual(features: int, shortcut: bool, nested: bool) -> Layer:
    projection = Dense(features, features, rng=5) if shortcut else None
    body: list[Layer] = [Dense(features, 2, rng=0), ReLU(), Dense(2, features, rng=1)]
    return Residual([Residual(body)] if nested else body, projection)


# What can be wrong with a container is wrong for nearly every x: few examples are enough.
few = 0.4


@pytest.mark.gradients
class TestGradients:
    def test_gradients_of_a_sum_of_branches_are_those_of_finite_differences(self) -> None:
        check_layer(summed, ("N", "features"), count=small, examples=few)

    @pytest.mark.parametrize(
        ("shape", "axis"), [(("N", "features"), 1), (("N", 2, "features"), -1)]
    )
    def test_gradients_of_concatenated_branches_are_those_of_finite_differences(
        self, shape: tuple[Any, ...], axis: int
    ) -> None:
        check_layer(concatenated, shape, outputs=widths, axis=axis, examples=few)

    @pytest.mark.parametrize("outputs", [[2], [1, 3], [2, 1, 2]])
    def test_gradients_of_parallel_branches_are_those_of_finite_differences(
        self, outputs: list[int]
    ) -> None:
        features = sum(range(1, len(outputs) + 1))
        check_layer(parallel, ("N", features), outputs=st.just(outputs), examples=few / 2)

    def test_gradients_of_parallel_branches_along_time_are_those_of_finite_differences(
        self,
    ) -> None:
        def halves(features: int) -> Layer:
            return Parallel([Dense(features, features, rng=0), ReLU()], axis=-2)

        check_layer(halves, ("N", 4, "features"), examples=few)

    def test_gradients_of_a_residual_block_are_those_of_finite_differences(self) -> None:
        check_layer(
            residual,
            ("N", "features"),
            shortcut=st.booleans(),
            nested=st.booleans(),
            examples=few,
        )


def dense(layer: Dense, row: list[float]) -> list[float]:
    weight = layer.weight.value.tolist()
    return [
        math.fsum(row[i] * weight[i][j] for i in range(len(row))) for j in range(layer.out_features)
    ]


@given(floats((2, 3), np.float64, bound=3))
def test_branches_are_summed_concatenated_or_added_to_x(x: Array) -> None:
    layers = [Dense(3, 3, rng=seed).astype(np.float64) for seed in range(2)]
    first, second = layers
    formulas: dict[Layer, Any] = {
        Sum(layers): lambda row: [
            a + b for a, b in zip(dense(first, row), dense(second, row), strict=True)
        ],
        Concatenate(layers): lambda row: [*dense(first, row), *dense(second, row)],
        Residual(first): lambda row: [a + b for a, b in zip(row, dense(first, row), strict=True)],
        Residual(first, second): lambda row: [
            a + b for a, b in zip(dense(first, row), dense(second, row), strict=True)
        ],
    }
    for layer, formula in formulas.items():
        np.testing.assert_allclose(layer(x), [formula(row) for row in x.tolist()], atol=1e-12)
    part = Dense(1, 2, rng=0).astype(np.float64)
    rest = Dense(2, 3, rng=1).astype(np.float64)
    parallel_branches = Parallel([part, rest], sizes=[1, 2])
    rows = [[*dense(part, row[:1]), *dense(rest, row[1:])] for row in x.tolist()]
    np.testing.assert_allclose(parallel_branches(x), rows, atol=1e-12)


class TestContents:
    def test_parameters_of_branches_are_named_by_branch(self) -> None:
        assert [
            name for name, _ in Sum([Dense(1, 1), [Dense(1, 1, bias=False)]]).named_parameters()
        ] == [
            "branches.0.weight",
            "branches.0.bias",
            "branches.1.layers.0.weight",
        ]
        block = Residual([Dense(1, 1, bias=False)], Dense(1, 1, bias=False))
        assert [name for name, _ in block.named_parameters()] == [
            "body.layers.0.weight",
            "shortcut.weight",
        ]

    def test_one_layer_object_in_two_branches_is_refused(self) -> None:
        relu = ReLU()
        with pytest.raises(InputError, match=r"at branches\.0 and again at branches\.1"):
            Sum([relu, relu])

    def test_repr_of_branches_is_their_constructor_call(self) -> None:
        assert repr(Sum([ReLU(), [Flatten()]])) == "Sum([ReLU(), Sequential([Flatten()])])"
        assert repr(Concatenate([ReLU()])) == "Concatenate([ReLU()])"
        assert repr(Concatenate([ReLU()], axis=-1)) == "Concatenate([ReLU()], axis=-1)"
        assert repr(Parallel([ReLU()], sizes=[2])) == "Parallel([ReLU()], sizes=[2])"
        assert repr(Parallel([ReLU()], axis=2)) == "Parallel([ReLU()], axis=2)"
        assert repr(Residual(ReLU())) == "Residual(ReLU())"
        assert repr(Residual(ReLU(), Rescale(2))) == "Residual(ReLU(), shortcut=Rescale(2))"

    def test_sequences_and_branches_can_be_nested(self) -> None:
        inception = Concatenate(
            [Dense(4, 2), [Dense(4, 3), ReLU(), Dense(3, 5)], Sum([Dense(4, 1)])]
        )
        model = Sequential([Flatten(), Residual([inception, Dense(8, 4)]), Dense(4, 10)])
        assert model.output_shape((16, 2, 2)) == (16, 10)


class TestIntegers:
    BYTES = np.arange(8, dtype=np.uint8).reshape(2, 4)

    @pytest.mark.parametrize("join", [Sum, Concatenate, Parallel])
    def test_branches_on_integers_return_no_dx_and_write_parameter_gradients(
        self, join: Any
    ) -> None:
        width = 2 if join is Parallel else 4
        branches = [[Rescale(1 / 255), Dense(width, 3, rng=seed)] for seed in range(2)]
        layer = join(branches)
        y = layer(self.BYTES)
        dy = np.cos(y)
        assert layer.backward(dy) is None
        written = [parameter.grad for parameter in layer.parameters()]
        layer(self.BYTES.astype(np.float32))
        assert layer.backward(dy) is not None
        for parameter, grad in zip(layer.parameters(), written, strict=True):
            np.testing.assert_array_equal(parameter.grad, grad)

    @pytest.mark.parametrize("join", [Sum, Concatenate, Residual])
    def test_backward_parameters_of_branches_computes_no_dx(self, join: Any) -> None:
        called = []

        class Spy(Layer):
            def forward(self, x: Array) -> Array:
                self.save_for_backward(x)
                return x * 2

            def backward(self, dy: Array) -> Array:
                raise AssertionError(dy)

            def backward_parameters(self, dy: Array) -> None:
                self.saved_for_backward(dy)
                called.append(dy.shape)

        layer = join(Spy(), Spy()) if join is Residual else join([Spy(), Spy()])
        y = layer(np.ones((2, 3)))
        layer.backward_parameters(y)
        assert called == [(2, 3)] * 2


class TestErrors:
    @pytest.mark.parametrize("kind", [Sum, Concatenate, Parallel])
    def test_branches_refuse_other_values_than_a_list_of_layers(self, kind: Any) -> None:
        name = kind.__name__
        for wrong, sentence in (
            (ReLU(), "a list of branches, got ReLU()"),
            (3, "a list of branches, got 3"),
            ([], "at least one branch, got an empty list"),
            ([ReLU(), 3], "a layer or a list of layers, got 3"),
            ([ReLU], f"a layer or a list of layers, got {ReLU!r}: write ReLU()"),
        ):
            with pytest.raises(InputError) as error:
                kind(wrong)
            assert str(error.value) == f"{name} expects {sentence}"

    def test_residual_refuses_a_body_that_is_no_layer_or_empty(self) -> None:
        with pytest.raises(InputError, match=r"^Residual expects a layer or a list of layers, got"):
            Residual(abs)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InputError, match=r"^Sequential expects at least one layer"):
            Residual([])

    @pytest.mark.parametrize("kind", [Concatenate, Parallel])
    def test_branches_refuse_the_batch_axis(self, kind: Any) -> None:
        with pytest.raises(InputError, match=rf"^{kind.__name__} expects an axis of a sample, got"):
            kind([ReLU()], axis=0)

    def test_branches_refuse_an_axis_that_a_sample_does_not_have(self) -> None:
        x = np.ones((2, 4), np.float32)
        with pytest.raises(
            InputError, match=r"a sample has axis -2, got samples of shape \(3,\), \(3,\)$"
        ):
            Concatenate([Dense(4, 3), Dense(4, 3)], axis=-2)(x)
        with pytest.raises(InputError, match=r"a sample has axis 2, got samples of shape \(4,\)$"):
            Concatenate([ReLU()], axis=2)(x)
        with pytest.raises(
            InputError, match=r"of 2 entries along axis -2, got samples of shape \(4,\)$"
        ):
            Parallel([ReLU(), ReLU()], axis=-2)(x)

    def test_branches_refuse_outputs_of_shapes_that_do_not_fit(self) -> None:
        x = np.ones((2, 4), np.float32)
        with pytest.raises(
            InputError, match=r"branches of one output shape, got samples of shape \(3,\), \(1,\)$"
        ):
            Sum([Dense(4, 3), Dense(4, 1)])(x)
        with pytest.raises(
            InputError, match=r"along axis 2 alone, got samples of shape \(3, 1\), \(1, 1\)$"
        ):
            Concatenate([Select3(), Select1()], axis=2)(np.ones((2, 4, 1)))
        with pytest.raises(InputError) as error:
            Residual([Dense(4, 3)])(x)
        assert str(error.value) == (
            "Residual(Sequential([Dense(4, 3)])) expects its body to give samples of shape "
            "(4,), got samples of shape (3,); a shortcut, such as a Dense or a 1x1 Conv2D, "
            "gives x the shape of y"
        )
        with pytest.raises(
            InputError, match=r"give samples of shape \(2,\), got samples of shape \(3,\)$"
        ):
            Residual(Dense(4, 3), Dense(4, 2))(x)

    def test_parallel_refuses_sizes_that_do_not_fit_branches_or_x(self) -> None:
        x = np.ones((2, 5), np.float32)
        with pytest.raises(
            InputError, match=r"^Parallel expects a size for each of 1 branches, got"
        ):
            Parallel([ReLU()], sizes=[1, 2])
        with pytest.raises(InputError, match=r"^Parallel expects each size to be a whole number"):
            Parallel([ReLU()], sizes=[0])
        with pytest.raises(
            InputError, match=r"x to have 4 entries along axis 1, got samples of shape \(5,\)$"
        ):
            Parallel([ReLU(), ReLU()], sizes=[1, 3])(x)
        with pytest.raises(
            InputError, match=r"a multiple of 2 entries along axis 1, got samples of shape \(5,\)$"
        ):
            Parallel([ReLU(), ReLU()])(x)
        with pytest.raises(
            InputError, match=r"a multiple of 2 entries along axis 2, got samples of shape \(5,\)$"
        ):
            Parallel([ReLU(), ReLU()], axis=2)(x)

    def test_an_error_from_a_branch_names_its_position(self) -> None:
        model = Sequential([ReLU(), Sum([Dense(4, 2), [ReLU(), Dense(5, 2)]])])
        with pytest.raises(InputError) as error:
            model(np.ones((8, 4)))
        assert str(error.value) == (
            "layer 2 of 2: branch 2 of 2: layer 2 of 2: Dense(5, 2) expects x of shape (..., 5), "
            "got (8, 4) from layer 1, ReLU(); in_features=4 would fit it"
        )
        with pytest.raises(InputError, match=r"^shortcut: Dense\(3, 4\) expects"):
            Residual(Dense(4, 4), Dense(3, 4))(np.ones((8, 4)))
        with pytest.raises(InputError, match=r"^body: Dense\(3, 4\) expects"):
            Residual(Dense(3, 4))(np.ones((8, 4)))


class TestTuples:
    X = np.arange(6.0).reshape(2, 3), np.array([[1], [0]]), np.array([[2.0], [5.0]])

    def layer(self) -> Layer:
        embedding = Sequential([Embedding(2, 2, rng=0), Flatten()])
        return Parallel([Dense(3, 2, rng=1), embedding, Rescale(3)])

    def test_parallel_joins_the_outputs_of_a_branch_for_each_array(self) -> None:
        layer = self.layer().astype(np.float64)
        y = layer(self.X)
        for branch, x, part in zip(layer.branches, self.X, np.split(y, [2, 4], 1), strict=True):  # type: ignore[attr-defined]  # of Parallel
            np.testing.assert_array_equal(part, branch(x))
        layer(self.X)
        first, second, third = layer.backward(np.ones_like(y))
        assert first.shape == (2, 3)
        assert second is None  # ids
        np.testing.assert_array_equal(third, [[3.0], [3.0]])

    def test_heads_return_a_tuple_and_sum_the_gradients_of_its_arrays(self) -> None:
        a, b, x = Dense(3, 2, rng=0), Dense(3, 1, rng=1), self.X[0]
        heads = Heads([a, b])
        y = heads(x)
        assert isinstance(y, tuple)
        for got, branch in zip(y, (a, b), strict=True):
            np.testing.assert_array_equal(got, branch(x))
        heads(x)
        dy = np.ones((2, 2)), np.full((2, 1), 2.0)
        expected = dy[0] @ a.weight.value.T + dy[1] @ b.weight.value.T
        np.testing.assert_allclose(heads.backward(dy), expected, rtol=1e-6)
        heads(x)
        heads.backward_parameters(dy)
        np.testing.assert_allclose(np.asarray(b.bias and b.bias.grad), [4.0])

    def test_a_tuple_of_another_number_of_arrays_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"a tuple x of 3 arrays, one for each branch, got 2$"):
            self.layer()(self.X[:2])
        with pytest.raises(InputError, match=r"a tuple x of 3 arrays, one for each branch, got 2$"):
            self.layer().summary(((2, 3), (2, 1)))
        with pytest.raises(InputError, match="the arrays of x to have one number of samples"):
            self.layer()((*self.X[:2], self.X[2][:1]))
        with pytest.raises(InputError, match="expects one array to split into sizes, got a tuple"):
            Parallel([ReLU(), ReLU()], sizes=[1, 2])(self.X[::2])

    @pytest.mark.parametrize("join", [Heads, Sum, Concatenate, Parallel, Residual])
    def test_branches_return_one_array_each(self, join: Any) -> None:
        pair = Heads([ReLU(), ReLU()])
        layer = join([pair] if join is Residual else [pair, ReLU()])
        with pytest.raises(InputError, match=r"that return one array, got a tuple of 2 from "):
            layer(np.ones((2, 4)))

    @pytest.mark.parametrize("join", [Heads, Sum, Concatenate])
    def test_dx_of_branches_that_all_take_a_tuple_is_the_sum_for_each_array(
        self, join: Any
    ) -> None:
        def branches() -> list[Layer]:
            first = [Dense(3, 2, rng=seed) for seed in (0, 1)]
            ids = [Sequential([Embedding(2, 2, rng=seed), Flatten()]) for seed in (2, 3)]
            return [Parallel(list(pair)) for pair in zip(first, ids, strict=True)]

        a, b = (branch.astype(np.float64) for branch in branches())
        x = self.X[:2]
        dys = np.ones((2, 4)), np.full((2, 4), 2.0)
        if join is Sum:
            dys = dys[:1] * 2
        a(x), b(x)
        expected = a.backward(dys[0])[0] + b.backward(dys[1])[0]
        layer = join(branches()).astype(np.float64)
        layer(x)
        dy = {Heads: dys, Sum: dys[0], Concatenate: np.concatenate(dys, axis=1)}[join]
        dx, nothing = layer.backward(dy)
        np.testing.assert_allclose(dx, expected, rtol=1e-12)
        assert nothing is None

    def test_a_mask_goes_through_heads_to_the_layer_behind(self) -> None:
        embedding, pools = Embedding(9, 4, padding_idx=0, rng=0), [GlobalPool1D(), GlobalPool1D()]
        heads = Heads([Dense(4, 2, rng=1), Dense(4, 2, rng=2)])
        model = Sequential([embedding, heads, Parallel(pools)])
        short, padded = model(np.array([[1, 2]])), model(np.array([[1, 2, 0, 0]]))
        np.testing.assert_allclose(padded, short, rtol=1e-6)

    def test_the_gradient_of_a_tuple_is_a_tuple_of_gradients_like_its_arrays(self) -> None:
        heads = Heads([ReLU(), Rescale(2)])
        x = self.X[0].astype(np.float32)
        for dy, sentence in (
            (np.ones((2, 3)), "dy to be a tuple of 2 gradients, one for each array of y, got nd"),
            ((np.ones((2, 3)),), "dy to be a tuple of 2 gradients, one for each array of y, got 1"),
            ((x, x[:1]), r"dy\[1\] of the shape of y\[1\], \(2, 3\), got \(1, 3\) of float32"),
            ((x, None), r"dy\[1\] of the shape of y\[1\], \(2, 3\), got \(\) of object"),
        ):
            heads(x)
            with pytest.raises(InputError, match=sentence):
                heads.backward(dy)
        assert heads.backward((x, x.astype(np.float64))).dtype == np.float32

    def test_an_array_of_integers_in_the_middle_of_a_network_needs_no_gradient(self) -> None:
        class Tag(Layer):
            def forward(self, x: Array) -> Any:
                y = 2 * x, np.arange(len(x))
                self.save_for_backward(y)
                return y

            def backward(self, dy: Any) -> Any:
                ((dx, nothing),) = self.saved_for_backward(dy)
                assert nothing is None
                return 2 * dx

        model = Sequential([Tag(), Parallel([ReLU(), [Embedding(2, 1, rng=0)]])])
        y = model(np.ones((2, 3)))
        np.testing.assert_array_equal(model.backward(np.ones_like(y)), np.full((2, 3), 2.0))


class Select3(Layer):
    """The first three entries along axis 1."""

    def forward(self, x: Array) -> Array:
        return x[:, :3] * 1

    def backward(self, dy: Array) -> Array:
        return dy


class Select1(Select3):
    def forward(self, x: Array) -> Array:
        return x[:, :1] * 1


def cosine_slope(dy: Array, x: Array) -> Array:
    return dy * np.cos(x)


def sine() -> Layer:
    return Lambda(np.sin, cosine_slope)


@pytest.mark.gradients
def test_gradients_of_a_lambda_are_those_of_finite_differences() -> None:
    check_layer(sine, ("N", ...), x=lambda shape: floats(shape, bound=3), examples=few)


def test_check_gradients_finds_a_wrong_derivative_of_a_lambda() -> None:
    wrong = Lambda(np.sin, lambda dy, x: dy * np.sin(x))
    with pytest.raises(
        GradientCheckError, match=r"^Lambda\(sin, <lambda>\): gradient of x at index"
    ):
        check_gradients(wrong, np.array([[0.5, -2.0]]))


def test_forward_and_backward_of_a_lambda_are_its_two_functions() -> None:
    layer = Lambda(lambda x: x**2, lambda dy, x: dy * 2 * x)
    assert layer(np.array([[1.0, -3.0]])).tolist() == [[1, 9]]
    assert layer.backward(np.array([[1.0, 10.0]])).tolist() == [[2, -60]]


@pytest.mark.parametrize("change", [lambda x: x, lambda x: x[:, ::-1], lambda x: x[:, :1]])
def test_lambda_copies_results_that_share_memory_with_x(change: object) -> None:
    layer = Lambda(change, lambda dy, x: dy if dy.shape == x.shape else x)  # type: ignore[arg-type]  # any function
    x = np.ones((2, 3))
    y = layer(x)
    dy = np.ones_like(y)
    dx = layer.backward(dy)
    assert not np.shares_memory(y, x)
    assert not any(np.shares_memory(dx, given) for given in (x, dy))


def test_floats_that_a_lambda_makes_of_integers_have_the_dtype_of_the_layer() -> None:
    half = Lambda(lambda x: x / 2, lambda dy, _: dy / 2)
    assert half(np.ones((2, 3), np.uint8)).dtype == np.float32
    assert half.astype(np.float64)(np.ones((2, 3), np.uint8)).dtype == np.float64


def test_lambda_keeps_the_float_dtype_of_x() -> None:
    layer = Lambda(lambda x: x.astype(np.float64) * 2, lambda dy, _: dy.astype(np.float64) * 2)
    y = layer(np.ones((1, 2), np.float32))
    assert y.dtype == layer.backward(y).dtype == np.float32
    integers = Lambda(lambda x: x + 1, lambda dy, _: dy)
    assert integers(np.ones((1, 2), np.int32)).dtype == np.int32


def test_lambda_refuses_arguments_that_are_no_functions() -> None:
    with pytest.raises(InputError, match=r"^Lambda expects its function to be a function, got 3$"):
        Lambda(3, cosine_slope)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InputError, match=r"^Lambda expects its derivative to be a function, got"):
        Lambda(np.sin, None)  # type: ignore[arg-type]  # that is the point


def test_lambda_refuses_results_of_a_wrong_type_or_shape() -> None:
    x = np.ones((2, 3))
    with pytest.raises(InputError, match=r"expects arrays from its functions, got 6\.0$"):
        Lambda(lambda x: float(x.sum()), cosine_slope)(x)  # type: ignore[arg-type,return-value]  # that is the point
    with pytest.raises(InputError, match=r"of x on axis 0, got \(3,\) for \(2, 3\)$"):
        Lambda(lambda x: x.sum(axis=0), cosine_slope)(x)
    layer = Lambda(lambda x: x.sum(axis=1), lambda dy, _: dy)
    with pytest.raises(
        InputError, match=r"expects its derivative to return the shape of x, \(2, 3\), got \(2,\)$"
    ):
        layer.backward(layer(x))


def test_repr_of_a_lambda_names_its_functions() -> None:
    assert repr(sine()) == "Lambda(sin, cosine_slope)"
