import copy
import pickle
from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, InputError, Layer, Parameter, ReLU, Sequential


class Scale(Layer):
    """y = w · x, with attributes of every kind."""

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


class Nested(Layer):
    """Layers and parameters as attributes, in lists, tuples and dicts."""

    def __init__(self) -> None:
        self.scale = Parameter(1.0)
        self.one = Scale()
        self.many: list[Any] = [Scale(), (Scale(), Parameter(2.0))]
        self.named: dict[str, Any] = {"left": Scale(), "right": 3}

    def forward(self, x: Array) -> Array:
        raise NotImplementedError

    backward = forward


PARAMETER_PATHS = ["scale", "one.w", "many.0.w", "many.1.0.w", "many.1.1", "named.left.w"]


def layers_of(nested: Nested) -> list[Any]:
    return [nested, nested.one, nested.many[0], nested.many[1][0], nested.named["left"]]


def test_parameters_are_named_by_attribute_path_in_order_of_definition() -> None:
    nested = Nested()
    names, parameters = zip(*nested.named_parameters(), strict=True)
    assert list(names) == PARAMETER_PATHS
    assert list(parameters) == nested.parameters()
    assert parameters[1] is nested.one.w


def test_named_layers_lists_the_layer_itself_and_all_layers_inside_by_path() -> None:
    nested = Nested()
    paths, layers = zip(*nested.named_layers(), strict=True)
    assert list(paths) == ["", "one", "many.0", "many.1.0", "named.left"]
    assert list(layers) == layers_of(nested)


def test_train_and_eval_set_the_mode_of_every_layer_inside_and_return_the_layer() -> None:
    nested = Nested()
    assert all(layer.training for layer in layers_of(nested))
    assert nested.eval() is nested
    assert not any(layer.training for layer in layers_of(nested))
    assert nested.train() is nested
    assert all(layer.training for layer in layers_of(nested))


@pytest.mark.parametrize("mode", [True, False])
def test_train_with_a_mode_sets_it_in_every_layer_inside_and_returns_the_layer(mode: bool) -> None:
    nested = Nested()
    nested.one.training = not mode
    assert nested.train(mode) is nested
    assert [layer.training for layer in layers_of(nested)] == [mode] * 5


@pytest.mark.parametrize("shared", [Scale(), Parameter(1.0)])
def test_one_object_at_two_paths_is_rejected_and_both_are_named(shared: Any) -> None:
    nested = Nested()
    nested.many.append(shared)
    nested.named["up"] = shared
    with pytest.raises(InputError, match=r"at many\.2 and again at named\.up.*second object"):
        nested.parameters()


def test_a_layer_inside_itself_is_rejected() -> None:
    nested = Nested()
    nested.many.append(nested)
    with pytest.raises(InputError, match=r"got a Nested at the top and again at many\.2"):
        nested.parameters()
    nested.many.pop()
    nested.one.parent = nested
    with pytest.raises(InputError, match=r"got a Nested at the top and again at one\.parent"):
        nested.parameters()


def test_repr_of_a_layer_without_arguments_shows_its_parameters_and_layers() -> None:
    assert repr(Scale(3)) == "Scale(w=(3,))"
    assert repr(Nested()) == "Nested(scale=(), one=Scale(w=(2,)))"


def test_a_layer_without_backward_cannot_be_instantiated() -> None:
    class Half(Layer):
        def forward(self, x: Array) -> Array:
            return x

    make: Any = Half
    with pytest.raises(TypeError, match="backward"):
        make()


def test_astype_converts_the_parameters_and_float_arrays_of_a_copy() -> None:
    nested = Nested()
    nested.one.w.grad = np.ones(2, np.float32)
    double = nested.astype(np.float64)
    for layer, converted in zip(layers_of(nested), layers_of(double), strict=True):
        assert (layer.dtype, converted.dtype) == (np.float32, np.float64)
    assert {p.value.dtype for p in double.parameters()} == {np.dtype(np.float64)}
    assert {p.value.dtype for p in nested.parameters()} == {np.dtype(np.float32)}
    assert double.one.table.dtype == np.float64
    assert double.one.counts.dtype == nested.one.counts.dtype
    assert double.one.note == "a note"
    assert double.one.w.grad is None
    assert nested.one.w.grad is not None
    assert nested.one.table.dtype == np.float32


def test_astype_shares_no_memory_with_the_original() -> None:
    scale = Scale()
    same = scale.astype(np.float32)
    same.w.value[:] = 9
    same.table[:] = 9
    assert (scale.w.value == 1).all()
    assert scale.table.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [np.int64, bool, complex, str])
def test_astype_rejects_a_dtype_that_is_no_float(dtype: Any) -> None:
    with pytest.raises(InputError, match=r"Scale\(w=\(2,\)\)\.astype expects a float dtype, got"):
        Scale().astype(dtype)


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
def test_check_input_accepts_an_array_of_the_required_shape(
    shape: tuple[int, ...], pattern: tuple[Any, ...]
) -> None:
    Scale().check_input(np.zeros(shape), *pattern)


@pytest.mark.parametrize(
    ("shape", "pattern", "expected"),
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
def test_check_input_names_the_shape_it_expected_and_the_one_it_got(
    shape: tuple[int, ...], pattern: tuple[Any, ...], expected: str
) -> None:
    with pytest.raises(InputError) as error:
        Scale().check_input(np.zeros(shape), *pattern, name="images")
    assert str(error.value) == f"Scale(w=(2,)) expects images of shape {expected}, got {shape}"


@pytest.mark.parametrize("x", [{1.0}, 1.0, None, "x"])
def test_check_input_rejects_what_is_no_array(x: Any) -> None:
    with pytest.raises(InputError) as error:
        Scale().check_input(x, ...)
    got = type(x).__name__
    assert str(error.value) == f"Scale(w=(2,)) expects x to be a NumPy array, got {got}"


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_check_input_accepts_integers_only_on_request(dtype: Any) -> None:
    x = np.zeros(3, dtype)
    Scale().check_input(x, ..., integers=True)
    with pytest.raises(InputError, match=r"x of a float dtype, got .*Rescale.*makes floats"):
        Scale().check_input(x, ...)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("dtype", [complex, object, "U3", "datetime64[s]"])
def test_check_input_rejects_complex_text_date_and_object_dtypes(
    dtype: Any, integers: bool
) -> None:
    expected = "a number" if integers else "a float"
    with pytest.raises(InputError, match=rf"x of {expected} dtype, got [^ ;]+(; .*)?$"):
        Scale().check_input(np.zeros(3, dtype), ..., integers=integers)


def test_saved_for_backward_casts_dy_to_the_float_dtype_of_y() -> None:
    scale = Scale()
    scale(np.ones((1, 2), np.float32))
    assert scale.backward(np.ones((1, 2), np.float64)).dtype == np.float32
    scale(np.ones((1, 2), np.float64))
    assert scale.backward(np.ones((1, 2), np.int64)).dtype == np.float64


def test_saved_for_backward_keeps_the_dtype_of_dy_where_y_is_of_integers() -> None:
    scale = Scale()
    scale.save_for_backward(np.zeros(2, np.uint8))
    assert scale.saved_for_backward(np.array([0.5, -1.5]))[0].tolist() == [0.5, -1.5]


def test_a_second_backward_for_one_forward_is_rejected() -> None:
    scale = Scale()
    scale(np.ones((1, 2)))
    scale.backward(np.ones((1, 2)))
    with pytest.raises(InputError, match=r"^Scale\(w=\(2,\)\)\.backward expects a forward"):
        scale.backward(np.ones((1, 2)))


@pytest.mark.parametrize(
    "dy", [np.ones((2, 1)), np.ones(2), np.ones((1, 2), complex), [["a", "b"]], None]
)
def test_a_dy_of_another_shape_or_kind_is_rejected_and_backward_can_be_repeated(dy: Any) -> None:
    scale = Scale()
    scale(np.ones((1, 2)))
    with pytest.raises(InputError, match=r"backward expects dy of the shape of y, \(1, 2\), got"):
        scale.backward(dy)
    assert scale.w.grad is None
    assert scale.backward(np.ones((1, 2))).shape == (1, 2)


def test_parameters_saved_for_backward_are_not_counted_as_parameters_of_the_layer() -> None:
    dense = Dense(2, 2)
    dense.save_for_backward(1.0, dense.weight)
    assert len(dense.parameters()) == 2


DUPLICATES: dict[str, Any] = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "astype": lambda layer: layer.astype(layer.dtype),
}


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
def test_copies_and_pickles_of_a_layer_carry_no_saved_batch(duplicate: Any) -> None:
    dense = Dense(2, 2, rng=0)
    y = dense(np.ones((3, 2), np.float32))
    double = duplicate(dense)
    with pytest.raises(InputError, match="expects a forward"):
        double.backward(y)
    assert (double(np.ones((3, 2), np.float32)) == y).all()
    assert dense.backward(y).shape == (3, 2)


def test_scratch_memory_is_reused_in_training_while_shape_and_dtype_stay_the_same() -> None:
    scale = Scale()
    memory = scale.scratch("x", (2, 3), np.float32)
    assert memory.shape == (2, 3)
    assert memory.dtype == np.float32
    assert scale.scratch("x", (2, 3), "float32") is memory
    assert scale.scratch("y", (2, 3), np.float32) is not memory
    assert scale.scratch("x", (2, 3), np.float32) is memory
    larger = scale.scratch("x", (4, 3), np.float32)
    assert larger.shape == (4, 3)
    double = scale.scratch("x", (4, 3), np.float64)
    assert double.dtype == np.float64
    assert scale.scratch("x", (4, 3), np.float64) is double


def test_scratch_memory_is_fresh_in_evaluation_mode() -> None:
    scale = Scale()
    memory = scale.scratch("x", (2, 3), np.float32)
    scale.eval()
    first, second = (scale.scratch("x", (2, 3), np.float32) for _ in range(2))
    assert not np.shares_memory(first, memory)
    assert not np.shares_memory(first, second)
    assert scale.train().scratch("x", (2, 3), np.float32) is memory


def test_scratch_memory_belongs_to_one_layer_and_is_no_part_of_its_state() -> None:
    first, second = Dense(2, 1), Dense(2, 1)
    assert first.scratch("x", (2,), float) is not second.scratch("x", (2,), float)
    assert list(first.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
def test_copies_and_pickles_of_a_layer_carry_no_scratch_memory(duplicate: Any) -> None:
    scale = Scale()
    memory = scale.scratch("x", (2, 3), np.float32)
    double = duplicate(scale)
    assert "_scratch_memory" not in vars(double)
    assert not np.shares_memory(double.scratch("x", (2, 3), np.float32), memory)
    assert scale.scratch("x", (2, 3), np.float32) is memory


def test_a_layer_that_saves_nothing_for_backward_works_in_a_network() -> None:
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


def test_predict_restores_the_mode_of_each_layer_also_after_an_error() -> None:
    model = Sequential([Dense(3, 2), Dense(2, 2)])
    model[0].eval()
    model.predict(np.ones((1, 3)))
    assert [layer.training for layer in (model, *model)] == [True, False, True]
    with pytest.raises(InputError):
        model.predict(np.ones((1, 4)))
    assert [layer.training for layer in (model, *model)] == [True, False, True]
    with pytest.raises(InputError, match="expects a forward before it"):
        model.backward(np.ones((1, 2)))


def test_an_array_in_place_of_a_parameter_is_named_and_other_errors_are_passed_on() -> None:
    class Own(Layer):
        def __init__(self) -> None:
            self.gain: Any = Parameter([2.0])

        def forward(self, x: Any) -> Any:
            return x.value * self.gain.value

        def backward(self, dy: Array) -> Array:
            return dy

    layer = Own()
    for x in (np.ones(1), None):  # the mistake of the layer itself
        with pytest.raises(AttributeError, match="has no attribute 'value'"):
            layer(x)
    layer.gain = np.ones(1)
    with pytest.raises(InputError, match=r"expects its gain to be a Parameter, got an array: wr"):
        layer(Parameter([1.0]))
