import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, InputError, Layer, Parameter, ReLU, Sequential
from tinynet.errors import CheckpointError
from tinynet.saving.state import check_generators, generator_states, load_generators


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
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
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
        leaf.save_for_backward(np.zeros(2, np.uint8))
        assert leaf.saved_for_backward(np.array([0.5, -1.5]))[0].tolist() == [0.5, -1.5]

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
        dense.save_for_backward(1.0, dense.weight)
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


class Keeper(Layer):
    """Parameters, buffers and generators, and what is none of them."""

    def __init__(self, seed: int = 0, size: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.w = Parameter(rng.random(size))
        self.mean = rng.random(size)
        self.counts = {"seen": rng.integers(0, 9, 3), "more": [(rng.random(()),)]}
        self.table = rng.random(3)
        self.table.setflags(write=False)
        self._scratch = rng.random(4)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self.rngs = [np.random.Generator(np.random.MT19937(seed)), {"b": self._rng}]
        self.note = "a note"

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x, np.zeros(3), np.random.default_rng(0))
        return x * self.w.value

    def backward(self, dy: Array) -> Array:
        raise NotImplementedError


class Pair(Layer):
    """Two layers by name."""

    def __init__(self, seed: int = 0) -> None:
        self.parts: dict[str, Any] = {"left": Keeper(seed), "right": Dense(2, 3, rng=seed)}
        self.offset = Parameter(float(seed), np.float64)

    def forward(self, x: Array) -> Array:
        raise NotImplementedError

    backward = forward


NAMES = ["w", "mean", "counts.seen", "counts.more.0.0"]
PAIR_NAMES = [
    "parts.left.w",
    "parts.right.weight",
    "parts.right.bias",
    "offset",
    *(f"parts.left.{name}" for name in NAMES[1:]),
]


def held(layer: Layer) -> dict[str, bytes]:
    return {path: array.tobytes() for path, array in layer.state_dict().items()}


class TestState:
    def test_is_the_parameters_and_the_buffers_by_path(self) -> None:
        keeper = Keeper()
        state = keeper.state_dict()
        assert list(state) == NAMES
        assert state["w"] is keeper.w.value
        assert state["mean"] is keeper.mean
        assert list(Pair().state_dict()) == PAIR_NAMES

    def test_what_is_remembered_of_a_batch_is_no_part_of_it(self) -> None:
        keeper = Keeper()
        keeper(np.ones((1, 2)))
        assert list(keeper.state_dict()) == NAMES
        assert len(keeper.generators()) == 3

    def test_two_arrays_by_one_path_are_refused(self) -> None:
        pair = Pair()
        pair.parts["left.mean"] = np.zeros(2)
        with pytest.raises(InputError, match=r"^Pair\(.*\) expects a path of its own for each arr"):
            pair.state_dict()
        del pair.parts["left.mean"]
        pair.parts["right.bias"] = Parameter(1)
        with pytest.raises(InputError, match=r"one twice$"):
            pair.state_dict()

    def test_is_restored_when_that_is_called_and_not_before(self) -> None:
        keeper, other = Keeper(0), Keeper(1)
        arrays, before = keeper.state_dict(), held(keeper)
        keeper.check_state_dict(other.state_dict())
        assert held(keeper) == before
        keeper.load_state_dict(other.state_dict())
        assert held(keeper) == held(other) != before
        assert all(keeper.state_dict()[name] is arrays[name] for name in NAMES)
        other.mean[:] = 9
        assert (keeper.mean != 9).all()

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("mean", np.zeros(3), ", mean, expects float64 of shape (2,), got float64 of shape (3"),
            ("counts.seen", np.zeros(3), ", counts.seen, expects int64 of shape (3,), got float64"),
            (
                "more",
                np.zeros(3),
                " expects a state with counts.more.0.0, counts.seen, mean, w, go",
            ),
        ],
    )
    def test_of_another_tree_is_refused_and_nothing_changes(
        self, name: str, value: Array, sentence: str
    ) -> None:
        keeper = Keeper()
        before = held(keeper)
        with pytest.raises(InputError) as error:
            keeper.check_state_dict(Keeper(1).state_dict() | {name: value})
        assert str(error.value).startswith(f"Keeper(w=(2,)){sentence}")
        assert held(keeper) == before


class TestGenerators:
    def test_are_found_by_path_also_under_private_names(self) -> None:
        assert list(Keeper().generators()) == ["_rng", "rngs.0", "rngs.1.b"]
        assert next(iter(Pair().generators())) == "parts.left._rng"

    def test_go_on_where_they_stood(self) -> None:
        keeper, other = Keeper(0), Keeper(1)
        streams: list[Any] = [keeper._rng, keeper.rngs[0]]
        streams[0].random(3, np.float32)
        state = generator_states(keeper.generators())
        expected = [rng.random(5).tolist() for rng in streams]
        load_generators(other.generators(), state)
        others: list[Any] = [other._rng, other.rngs[0]]
        assert [rng.random(5).tolist() for rng in others] == expected

    def test_of_another_tree_are_refused_by_its_name(self) -> None:
        with pytest.raises(InputError, match=r"^Keeper\(\) expects a state with _rng, rngs"):
            check_generators("Keeper()", Keeper().generators(), {})
        state = generator_states(Keeper().generators())
        state["_rng"], state["rngs.0"] = state["rngs.0"], state["_rng"]
        with pytest.raises(InputError, match=r"^Keeper\(\) expects the state of a PCG64 fo"):
            check_generators("Keeper()", Keeper().generators(), state)


class TestFiles:
    def test_hold_the_whole_state(self, tmp_path: Path) -> None:
        saved, loading = Pair(1), Pair(2)
        arrays = loading.state_dict()
        saved.save(tmp_path / "c.npz")
        assert loading.load(tmp_path / "c.npz") is loading
        assert held(loading) == held(saved)
        assert all(loading.state_dict()[name] is arrays[name] for name in arrays)

    def test_hold_no_scratch_memory_and_nothing_that_is_fixed(self, tmp_path: Path) -> None:
        Keeper().save(tmp_path / "c.npz")
        with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
            assert archive.files[2:] == [f"model/{name}" for name in NAMES]

    def test_tell_the_network(self, tmp_path: Path) -> None:
        Sequential([Dense(3, 2)]).save(str(tmp_path / "c.npz"))
        sentence = r"expects a state, got|\(the file is of Sequential\(\[Dense\(3, 2\)\]\)\)$"
        with pytest.raises(CheckpointError, match=sentence):
            Dense(3, 2).load(str(tmp_path / "c.npz"))

    @pytest.mark.parametrize("dtype", [">f4", np.float16, np.float64])
    def test_load_into_the_network_that_was_saved_whatever_its_dtype(
        self, tmp_path: Path, dtype: Any
    ) -> None:
        saved = Dense(3, 2, rng=0).astype(dtype)
        saved.save(tmp_path / "c.npz")
        loading = Dense(3, 2, rng=1).astype(dtype).load(tmp_path / "c.npz")
        assert held(loading) == held(saved)
        assert loading.weight.value.dtype == dtype

    def test_of_another_network_change_nothing(self, tmp_path: Path) -> None:
        Keeper(1, size=3).save(tmp_path / "c.npz")
        keeper = Keeper(2)
        before = held(keeper)
        with pytest.raises(
            CheckpointError, match=r"got float32 of shape \(3,\) \(the file is of K"
        ):
            keeper.load(tmp_path / "c.npz")
        assert held(keeper) == before

    def test_that_cannot_be_written_are_said(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="could not be written"):
            Keeper().save(tmp_path / "no" / "c.npz")

    def test_leave_training_and_a_pending_backward_alone(self, tmp_path: Path) -> None:
        dense = Dense(3, 2, rng=0)
        y = dense(np.ones((1, 3), np.float32))
        dense.save(tmp_path / "c.npz")
        dense.load(tmp_path / "c.npz")
        assert dense.training
        assert dense.backward(y).shape == (1, 3)


def test_predict_puts_back_the_mode_of_each_layer_also_when_it_fails() -> None:
    model = Sequential([Dense(3, 2), Dense(2, 2)])
    model[0].eval()
    model.predict(np.ones((1, 3)))
    assert [layer.training for layer in (model, *model)] == [True, False, True]
    with pytest.raises(InputError):
        model.predict(np.ones((1, 4)))
    assert [layer.training for layer in (model, *model)] == [True, False, True]
    with pytest.raises(InputError, match="expects a forward before it"):
        model.backward(np.ones((1, 2)))
