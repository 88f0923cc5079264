"""Several inputs, outputs and targets: each array of a tuple is checked under its name."""

import itertools
from typing import Any

import numpy as np
import pytest
from bug_zoo.several import MaskedMean, Product, TwoHeads, TwoSquares
from bug_zoo.specimen import broken_rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet import (
    GRU,
    Array,
    GradientCheckError,
    InputError,
    Layer,
    Parameter,
    ReLU,
    SoftmaxCrossEntropy,
    check_gradients,
)
from tinynet.gradcheck import Cause, Verdict

RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal(shape) for shape in ((5, 4), (5, 4), (5, 3)))
MASK = np.array([[False] * 4, [False, False, False, True]])
STEPS = RNG.standard_normal((2, 4, 3))


class Bilinear(Layer):
    """y = (Σ a_i b_j w_ijk, a² as a second output, the ids as a third), for x = (a, b, ids)."""

    def __init__(self) -> None:
        self.w = Parameter(np.random.default_rng(1).standard_normal((4, 3, 2)))

    def forward(self, x: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        self.a, self.b, ids = self.x = x
        y = np.einsum("ni,nj,ijk->nk", self.a, self.b, self.w.value)
        return y, self.a**2, ids + 1

    def backward(self, dy: Any) -> Any:
        dy, squares, of_ids = dy
        assert of_ids is None
        self.w.grad = np.einsum("ni,nj,nk->ijk", self.a, self.b, dy)
        da = np.einsum("nk,nj,ijk->ni", dy, self.b, self.w.value) + 2 * self.a * squares
        return da, np.einsum("nk,ni,ijk->nj", dy, self.a, self.w.value), None


X = (A, C, np.arange(5))


def test_every_array_of_floats_is_checked_under_its_name() -> None:
    report = check_gradients(Bilinear(), X)
    assert {name: tensor.checked for name, tensor in report.tensors.items()} == {
        "x[0]": 20,
        "x[1]": 15,
        "w": 24,
    }
    assert report.rules == [
        "forward is repeatable",
        "inputs are unchanged",
        "gradients are overwritten",
        "backward is linear",
        "returned arrays stay unchanged",
        "another batch size",
        "any memory layout of x",
        "other batches before",
        "an array that is filled again",
    ]
    assert list(check_gradients(TwoSquares(), (A, C), (B, C[::-1]))) == ["x[0]", "x[1]"]


def test_a_tuple_of_one_array_stays_a_tuple() -> None:
    class Only(Layer):
        def forward(self, x: tuple[Array]) -> tuple[Array]:
            self.x = x[0]
            return (np.tanh(self.x),)

        def backward(self, dy: tuple[Array]) -> tuple[Array]:
            return (dy[0] * (1 - np.tanh(self.x) ** 2),)

    assert list(check_gradients(Only(), (A,))) == ["x[0]"]


def test_a_mask_is_an_input_of_bools_whose_gradient_may_be_anything() -> None:
    assert list(check_gradients(MaskedMean(), (STEPS, MASK))) == ["x[0]"]

    class WithMask(Layer):
        def __init__(self, layer: Layer) -> None:
            self.layer = layer

        def forward(self, x: tuple[Array, Array]) -> Any:
            return self.layer(x[0], padding_mask=x[1])

        def backward(self, dy: Array) -> Any:
            return self.layer.backward(dy), None

    gru = WithMask(GRU(3, 2, states="last", rng=0))
    assert {"x[0]", "layer.weight_ih"} <= set(check_gradients(gru, (STEPS, MASK)))


def test_integers_alone_leave_the_parameters_to_check() -> None:
    class Rows(Layer):
        def __init__(self) -> None:
            self.table = Parameter(np.random.default_rng(0).standard_normal((9, 3)))

        def forward(self, x: tuple[Array, Array]) -> Array:
            self.ids = x[0] + x[1]
            return np.asarray(self.table.value[self.ids])

        def backward(self, dy: Array) -> None:
            self.table.grad = np.zeros_like(self.table.value)
            np.add.at(self.table.grad, self.ids, dy)

    assert list(check_gradients(Rows(), (np.arange(4), np.arange(4)[::-1]))) == ["table"]


def test_a_large_layer_is_checked_in_directions_of_each_array() -> None:
    x = RNG.standard_normal((60, 8)), RNG.standard_normal((60, 8))
    assert [t.directions for t in check_gradients(Product(), x, entries=400).tensors.values()] == [
        8,
        8,
    ]


class Wrong(Bilinear):
    """Adds 1 % to an entry of one of the gradients."""

    def __init__(self, name: str, flat: int) -> None:
        super().__init__()
        self.name, self.flat = name, flat

    def backward(self, dy: Any) -> Any:
        *dx, none = super().backward(dy)
        gradients = {"x[0]": dx[0], "x[1]": dx[1], "w": self.w.grad}
        wrong = gradients[self.name]
        assert wrong is not None
        wrong.flat[self.flat % wrong.size] *= 1.01
        return *dx, none


@settings(max_examples=8)
@given(st.sampled_from(["x[0]", "x[1]", "w"]), st.integers(0, 23), st.integers(0, 999))
def test_one_wrong_entry_of_any_gradient_is_found(name: str, flat: int, seed: int) -> None:
    error = broken_rule(Wrong(name, flat), X, rng=seed)
    assert error is not None
    assert (error.verdict, error.parameter) == (Verdict.WRONG, name)


# One rule broken for one array of a tuple


class InPlace(Product):
    def forward(self, x: tuple[Array, Array]) -> Array:
        x[1][...] += 1
        return super().forward(x)


class UpstreamInPlace(TwoHeads):
    def backward(self, dy: tuple[Array, Array]) -> Any:
        dx = super().backward(dy)
        dy[1][...] *= 2
        return dx


class TargetsInPlace(TwoSquares):
    def forward(self, z: Any, t: tuple[Array, Array]) -> float:
        t[1][...] += 1
        return super().forward(z, t)


class BufferOfOutput(TwoHeads):
    buffer: Any = None

    def forward(self, x: Array) -> tuple[Array, Array]:
        y, h = super().forward(x)
        self.buffer = h if getattr(self.buffer, "shape", None) != h.shape else self.buffer
        self.buffer[...] = h
        return y, self.buffer


class BufferOfGradient(Product):
    buffer: Any = None

    def backward(self, dy: Array) -> Any:
        da, db = super().backward(dy)
        self.buffer = db if getattr(self.buffer, "shape", None) != db.shape else self.buffer
        self.buffer[...] = db
        return da, self.buffer


class NotLinear(Product):
    def backward(self, dy: Array) -> Any:
        da, db = super().backward(dy)
        return da, np.clip(db, -0.1, 0.1)


class Single(TwoHeads):
    def forward(self, x: Array) -> Any:
        y, h = super().forward(x)
        return y, h.astype(np.float32)


class Whole(TwoHeads):
    def forward(self, x: Array) -> Any:
        return tuple(y.astype(int) for y in super().forward(x))


CALLS = itertools.count()


class Counted(TwoHeads):
    def forward(self, x: Array) -> Any:
        y, _ = super().forward(x)
        return y, np.full(len(x), next(CALLS))


class Infinite(TwoHeads):
    def forward(self, x: Array) -> Any:
        y, h = super().forward(x)
        return y, h / 0


class KeptById(Product):
    kept: Any = (None, None)

    def forward(self, x: tuple[Array, Array]) -> Array:
        y = super().forward(x)
        if self.kept[0] is not x[1]:
            self.kept = x[1], x[1].copy()
        self.b = self.kept[1]
        return y


class OrderOfMemory(Product):
    def forward(self, x: tuple[Array, Array]) -> Array:
        return super().forward((x[0], x[1].ravel("K").reshape(x[1].shape)))


class UpstreamOrder(TwoHeads):
    def backward(self, dy: tuple[Array, Array]) -> Any:
        return super().backward((dy[0], dy[1].ravel("K").reshape(dy[1].shape)))


class FiveRows(Product):
    def backward(self, dy: Array) -> Any:
        da, db = super().backward(dy)
        return da, np.vstack([db[:5], 0 * db[5:]])


class WithoutDx(TwoHeads):
    def backward_parameters(self, dy: Any) -> None:
        self.g.grad = (dy[1] * self.x).sum(axis=0)


class OnlyFirst(Product):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy)[0], None


class WrongShape(Product):
    def backward(self, dy: Array) -> Any:
        da, db = super().backward(dy)
        return da, db.sum(axis=0)


class List(Product):
    def backward(self, dy: Array) -> Any:
        return list(super().backward(dy))


class One(Product):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy)[0]


class Three(Product):
    def backward(self, dy: Array) -> Any:
        return (*super().backward(dy), None)


class Nothing(Product):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)


PAIR, COUNT = (A, B), r", expected a tuple of 2: a gradient for each array of x, None for integers"


@pytest.mark.parametrize(
    ("layer", "inputs", "sentence", "cause"),
    [
        (InPlace(), (PAIR,), r"forward changed x\[1\] in place at index \(0, 0\)", Cause.IN_PLACE),
        (UpstreamInPlace(), (A,), r"backward changed dy\[1\] in place", Cause.IN_PLACE),
        (TargetsInPlace(), (PAIR, PAIR[::-1]), r"forward changed targets\[1\]", Cause.IN_PLACE),
        (BufferOfOutput(), (A,), r"y\[1\] that was returned changed", Cause.REUSED),
        (BufferOfGradient(), (PAIR,), r"the gradient of x\[1\] that was", Cause.REUSED),
        (NotLinear(), (PAIR,), r"two dy, backward gave the gradient of x\[1\]", Cause.NONLINEAR),
        (Single(), (A,), r"forward gave float32 as y\[1\] for an x of float64", Cause.PRECISION),
        (Whole(), (A,), r"forward gave int64 as y\[0\] for an x of float64", None),
        (Counted(), (A,), "two different results", Cause.RANDOMNESS),
        (Infinite(), (A,), "forward gave -?inf", Cause.OVERFLOW),
        (KeptById(), (PAIR,), "in an array that held another batch", Cause.STALE),
        (OrderOfMemory(), (PAIR,), r"for x and dy that are column-major", Cause.LAYOUT),
        (UpstreamOrder(), (A,), "for x and dy that are column-major", Cause.LAYOUT),
        (FiveRows(), (PAIR,), r"of x\[1\] at .*, for 6 samples, but right for 5", Cause.FIXED_SIZE),
        (WithoutDx(), (A,), "backward_parameters gave the gradient of g", None),
        (OnlyFirst(), (PAIR,), r"backward gave no gradient of x\[1\]", Cause.LEFT_OUT),
        (WrongShape(), (PAIR,), r"of x\[1\]: backward gave the shape \(4,\)", Cause.WRONG_AXES),
        (List(), (PAIR,), f"backward gave a list{COUNT}", Cause.ARRAYS),
        (One(), (PAIR,), f"backward gave an array{COUNT}", Cause.ARRAYS),
        (Three(), (PAIR,), f"backward gave a tuple of 3{COUNT}", Cause.ARRAYS),
        (Nothing(), (PAIR,), f"backward gave None{COUNT}", Cause.LEFT_OUT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Layer) else "",
)
def test_a_rule_that_one_array_breaks_is_named(
    layer: Layer, inputs: Any, sentence: str, cause: Cause | None
) -> None:
    with pytest.raises(GradientCheckError, match=sentence) as caught:
        check_gradients(layer, *inputs)
    assert caught.value.cause is cause


def test_an_error_of_backward_names_all_shapes() -> None:
    class Raises(Product):
        def backward(self, dy: Array) -> Any:
            raise KeyError(len(dy))

    error = broken_rule(Raises(), (A, B))
    assert r"for x of shapes (5, 4) and (5, 4)" in str(error)


def test_an_inner_layer_with_two_inputs_is_named() -> None:
    class Outer(Layer):
        def __init__(self) -> None:
            self.inner = One()

        def forward(self, x: Array) -> Any:
            return self.inner((x, x))

        def backward(self, dy: Array) -> Any:
            return self.inner.backward(dy)

    with pytest.raises(GradientCheckError, match="its inner is wrong on its own") as caught:
        check_gradients(Outer(), A)
    assert "x = (np.array(" in caught.value.snippet


# Arguments


class ReturnsList(Layer):
    def forward(self, x: Array) -> Any:
        return [x, x]

    def backward(self, dy: Any) -> Any: ...


class ReturnsNesting(ReturnsList):
    def forward(self, x: Array) -> Any:
        return x, (x, x)


class ReturnsEmpty(ReturnsList):
    def forward(self, x: Array) -> Any:  # noqa: ARG002
        return ()


class Masking(Layer):
    def forward(self, x: Array, padding_mask: Array | None = None) -> Array:  # noqa: ARG002
        return x.copy()

    def backward(self, dy: Array) -> Array:
        return dy.copy()


class OneForEach(Layer):
    """A loss without its mean."""

    def forward(self, x: Array, targets: Array) -> Array:
        y: Array = np.square(x - targets).mean(axis=1)
        return y

    def backward(self, dy: Array) -> Array:
        return dy


ONE_NUMBER = r"to give one number, as a loss with targets does, got "
AS_TUPLE = (
    r"a layer that takes a mask as well gets both as x=\(x, mask\), see docs/custom_layers.md"
)


@pytest.mark.parametrize(
    ("layer", "arguments", "sentence"),
    [
        (Product(), ((A, B[:3]),), "the arrays of x to have one number of samples, got 5 and 3"),
        (TwoSquares(), ((A, B), (A, B[:3])), "arrays of targets to have one number of samples"),
        (Product(), ((A, B[:0]),), r"an x with samples, got the shape \(0, 4\)|one number"),
        (Product(), ((A, B * np.nan),), "an x of finite numbers"),
        (Product(), ((A, "b"),), r"x\[1\] .*, got str"),
        (ReturnsList(), (A,), "an array or a tuple of arrays, got a list of 2"),
        (ReturnsNesting(), (A,), "or a tuple of arrays, got a tuple of ndarray and tuple"),
        (ReturnsEmpty(), (A,), "or a tuple of arrays, got a tuple of nothing"),
        (
            Masking(),
            (A, A > 0),
            rf"no targets for Masking.*, got some: they belong to a loss.*{AS_TUPLE}",
        ),
        (OneForEach(), (A, A), rf"{ONE_NUMBER}the shape \(5,\); {AS_TUPLE}"),
        (TwoHeads(), (A, A > 0), r"no targets for TwoHeads.*, whose forward takes \(x\), got some"),
        (ReLU(), (A, A > 0), AS_TUPLE),
        (
            SoftmaxCrossEntropy(),
            (A,),
            r"whose forward takes \(logits, targets\), got none; several inputs",
        ),
        (MaskedMean(), ((np.arange(2), MASK),), "without parameters and x of int64 and bool"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_remedy(
    layer: Layer, arguments: Any, sentence: str
) -> None:
    with pytest.raises(InputError, match=f"^check_gradients expects .*{sentence}"):
        check_gradients(layer, *arguments)


def test_a_forward_without_a_signature_is_checked() -> None:
    class InC:
        """Like a function in C, it has no signature."""

        @property
        def __signature__(self) -> Any:
            raise ValueError

        def __call__(self, x: Array) -> Array:
            return -x

    class Negative(Layer):
        forward = InC()

        def backward(self, dy: Array) -> Array:
            return -dy

    assert list(check_gradients(Negative(), A)) == ["x"]


def test_a_mask_as_second_output_of_a_loss_is_refused() -> None:
    class Pair(TwoSquares):
        def forward(self, z: Any, t: Any) -> Any:
            return np.ones(2) * super().forward(z, t), t[0]

    with pytest.raises(InputError, match=f"{ONE_NUMBER}2 arrays"):
        check_gradients(Pair(), (A, B), (A, B))
