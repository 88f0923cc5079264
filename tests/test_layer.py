import copy
import pickle
from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, InputError, Layer, Parameter, ReLU, Sequential


class Leaf(Layer):
    """y = w · x, with everything an attribute may be."""

    def __init__(self, size: int = 2) -> None:
        self.table = np.arange(size, dtype=np.float32)
        self.counts = np.arange(size)
        self.note = "a note"
        self.w = Parameter(np.ones(size))
        self.parent: Any = None

    def forward(self, x: Array) -> Array:
        self.check_input(x, "N", "D")
        y: Array = x * self.w.value
        self.remember(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.recall(dy)
        self.w.grad = (dy * x).sum(axis=0)
        dx: Array = dy * self.w.value
        return dx


class Tree(Layer):
    """Layers in every place where they are found."""

    def __init__(self) -> None:
        self.scale = Parameter(1.0)
        self.one = Leaf()
        self.many: list[Any] = [Leaf(), (Leaf(), Parameter(2.0))]
        self.named: dict[str, Any] = {"left": Leaf(), "right": 3}

    def forward(self, x: Array) -> Array:
        raise NotImplementedError

    backward = forward


TREE_NAMES = ["scale", "one.w", "many.0.w", "many.1.0.w", "many.1.1", "named.left.w"]


def tree_layers(tree: Tree) -> list[Any]:
    return [tree, tree.one, tree.many[0], tree.many[1][0], tree.named["left"]]


class TestWhatIsInside:
    def test_parameters_are_named_by_attribute_path_in_order_of_definition(self) -> None:
        tree = Tree()
        names, parameters = zip(*tree.named_parameters(), strict=True)
        assert list(names) == TREE_NAMES
        assert list(parameters) == tree.parameters()
        assert parameters[1] is tree.one.w

    def test_train_and_eval_reach_every_layer_and_return_the_layer(self) -> None:
        tree = Tree()
        assert all(layer.training for layer in tree_layers(tree))
        assert tree.eval() is tree
        assert not any(layer.training for layer in tree_layers(tree))
        assert tree.train() is tree
        assert all(layer.training for layer in tree_layers(tree))

    @pytest.mark.parametrize("shared", [Leaf(), Parameter(1.0)])
    def test_one_object_at_two_places_is_refused_with_both_places(self, shared: Any) -> None:
        tree = Tree()
        tree.many.append(shared)
        tree.named["up"] = shared
        with pytest.raises(InputError, match=r"at many\.2 and again at named\.up.*second object"):
            tree.parameters()

    def test_a_layer_inside_itself_is_refused(self) -> None:
        tree = Tree()
        tree.many.append(tree)
        with pytest.raises(InputError, match=r"got a Tree at the top and again at many\.2"):
            tree.parameters()
        tree.many.pop()
        tree.one.parent = tree
        with pytest.raises(InputError, match=r"got a Tree at the top and again at one\.parent"):
            tree.parameters()

    def test_repr_tells_parameters_and_layers(self) -> None:
        assert repr(Leaf(3)) == "Leaf(w=(3,))"
        assert repr(Tree()) == "Tree(scale=(), one=Leaf(w=(2,)))"

    def test_a_layer_without_backward_cannot_be_made(self) -> None:
        class Half(Layer):
            def forward(self, x: Array) -> Array:
                return x

        make: Any = Half
        with pytest.raises(TypeError, match="backward"):
            make()


class TestAstype:
    def test_converts_parameters_and_float_arrays_of_a_copy(self) -> None:
        tree = Tree()
        tree.one.w.grad = np.ones(2, np.float32)
        double = tree.astype(np.float64)
        for layer, converted in zip(tree_layers(tree), tree_layers(double), strict=True):
            assert (layer.dtype, converted.dtype) == (np.float32, np.float64)
        assert {p.value.dtype for p in double.parameters()} == {np.dtype(np.float64)}
        assert {p.value.dtype for p in tree.parameters()} == {np.dtype(np.float32)}
        assert double.one.table.dtype == np.float64
        assert double.one.counts.dtype == tree.one.counts.dtype
        assert double.one.note == "a note"
        assert double.one.w.grad is None
        assert tree.one.w.grad is not None
        assert tree.one.table.dtype == np.float32

    def test_the_copy_shares_nothing(self) -> None:
        leaf = Leaf()
        same = leaf.astype(np.float32)
        same.w.value[:] = 9
        same.table[:] = 9
        assert (leaf.w.value == 1).all()
        assert leaf.table.tolist() == [0, 1]

    @pytest.mark.parametrize("dtype", [np.int64, bool, complex, str])
    def test_refuses_what_is_no_float(self, dtype: Any) -> None:
        with pytest.raises(
            InputError, match=r"Leaf\(w=\(2,\)\)\.astype expects a float dtype, got"
        ):
            Leaf().astype(dtype)


class TestCheckInput:
    @pytest.mark.parametrize(
        ("shape", "pattern"),
        [
            ((2, 3), ("N", 3)),
            ((3,), (..., 3)),
            ((5, 2, 3), (..., 3)),
            ((5, 2, 3), ("N", ..., 3)),
            ((5, 3), ("N", ..., 3)),
            ((5,), ("N", ...)),
            ((), (...,)),
            ((4, 1, 8, 8), ("N", 1, "H", "W")),
        ],
    )
    def test_passes_what_fits(self, shape: tuple[int, ...], pattern: tuple[Any, ...]) -> None:
        Leaf().check_input(np.zeros(shape), *pattern)

    @pytest.mark.parametrize(
        ("shape", "pattern", "wanted"),
        [
            ((2, 4), ("N", 3), "(N, 3)"),
            ((3,), ("N", 3), "(N, 3)"),
            ((), ("N",), "(N,)"),
            ((3, 2), (..., 3), "(..., 3)"),
            ((), (..., 3), "(..., 3)"),
            ((3,), ("N", ..., 3), "(N, ..., 3)"),
            ((2, 3, 1), ("N", ..., 3), "(N, ..., 3)"),
            ((4, 8, 8, 1), ("N", 1, "H", "W"), "(N, 1, H, W)"),
        ],
    )
    def test_names_the_shape_expected_and_the_one_that_came(
        self, shape: tuple[int, ...], pattern: tuple[Any, ...], wanted: str
    ) -> None:
        with pytest.raises(InputError) as error:
            Leaf().check_input(np.zeros(shape), *pattern, name="images")
        assert str(error.value) == f"Leaf(w=(2,)) expects images of shape {wanted}, got {shape}"

    @pytest.mark.parametrize("x", [[1.0], 1.0, None, "x"])
    def test_refuses_what_is_no_array(self, x: Any) -> None:
        with pytest.raises(InputError) as error:
            Leaf().check_input(x, ...)
        came = type(x).__name__
        assert str(error.value) == f"Leaf(w=(2,)) expects x to be a NumPy array, got {came}"

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
    def test_integers_only_where_they_are_welcome(self, dtype: Any) -> None:
        x = np.zeros(3, dtype)
        Leaf().check_input(x, ..., integers=True)
        with pytest.raises(InputError, match=r"x of a float dtype, got .*Rescale.*makes floats"):
            Leaf().check_input(x, ...)

    @pytest.mark.parametrize("integers", [True, False])
    @pytest.mark.parametrize("dtype", [complex, object, "U3", "datetime64[s]"])
    def test_refuses_other_dtypes(self, dtype: Any, integers: bool) -> None:
        wanted = "a number" if integers else "a float"
        with pytest.raises(InputError, match=rf"x of {wanted} dtype, got \S+$"):
            Leaf().check_input(np.zeros(3, dtype), ..., integers=integers)


class TestRememberAndRecall:
    def test_dy_comes_in_the_float_dtype_of_y(self) -> None:
        leaf = Leaf()
        leaf(np.ones((1, 2), np.float32))
        assert leaf.backward(np.ones((1, 2), np.float64)).dtype == np.float32
        leaf(np.ones((1, 2), np.float64))
        assert leaf.backward(np.ones((1, 2), np.int64)).dtype == np.float64

    def test_dy_stays_a_float_where_y_is_of_integers(self) -> None:
        leaf = Leaf()
        leaf.remember(np.zeros(2, np.uint8))
        assert leaf.recall(np.array([0.5, -1.5]))[0].tolist() == [0.5, -1.5]

    def test_a_second_backward_is_refused(self) -> None:
        leaf = Leaf()
        leaf(np.ones((1, 2)))
        leaf.backward(np.ones((1, 2)))
        with pytest.raises(InputError, match=r"^Leaf\(w=\(2,\)\)\.backward expects a forward"):
            leaf.backward(np.ones((1, 2)))

    @pytest.mark.parametrize(
        "dy", [np.ones((2, 1)), np.ones(2), np.ones((1, 2), complex), [["a", "b"]], None]
    )
    def test_dy_of_another_form_is_refused_and_the_forward_still_stands(self, dy: Any) -> None:
        leaf = Leaf()
        leaf(np.ones((1, 2)))
        with pytest.raises(
            InputError, match=r"backward expects dy of the shape of y, \(1, 2\), got"
        ):
            leaf.backward(dy)
        assert leaf.w.grad is None
        assert leaf.backward(np.ones((1, 2))).shape == (1, 2)

    def test_what_is_remembered_is_no_part_of_the_layer(self) -> None:
        dense = Dense(2, 2)
        dense.remember(1.0, dense.weight)
        assert len(dense.parameters()) == 2

    @pytest.mark.parametrize(
        "duplicate", [copy.deepcopy, copy.copy, lambda layer: pickle.loads(pickle.dumps(layer))]
    )
    def test_copies_and_pickles_carry_no_batch(self, duplicate: Any) -> None:
        dense = Dense(2, 2, rng=0)
        y = dense(np.ones((3, 2), np.float32))
        double = duplicate(dense)
        with pytest.raises(InputError, match="expects a forward"):
            double.backward(y)
        assert (double(np.ones((3, 2), np.float32)) == y).all()
        assert dense.backward(y).shape == (3, 2)


def test_a_users_layer_without_these_helpers_works_in_a_net() -> None:
    class Double(Layer):
        def forward(self, x: Array) -> Array:
            return 2 * x

        def backward(self, dy: Array) -> Array:
            return 2 * dy

    model = Sequential([Double(), ReLU()])
    assert model(np.array([[1.0, -1.0]])).tolist() == [[2, 0]]
    dx = model.backward(np.array([[1.0, 1.0]]))
    assert dx is not None
    assert dx.tolist() == [[2, 0]]
    Double().backward_parameters(np.ones(1))
