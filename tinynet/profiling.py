"""Profile: where the time of a training step goes, layer by layer."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from time import perf_counter
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.html import html_table
from tinynet.layer import Layer
from tinynet.layers.attention import MultiHeadAttention
from tinynet.layers.convolution import Conv2D, ConvTranspose2D
from tinynet.layers.dense import Dense
from tinynet.layers.recurrent import Recurrent
from tinynet.mode import in_mode
from tinynet.parameter import Array
from tinynet.precision import input_cast
from tinynet.samples import Samples, arrays_of, check_samples, count_samples
from tinynet.training.step import accumulate_gradients
from tinynet.training.trainer import Trainer
from tinynet.validation import whole_number

CEILING = 512  # rows and columns of the product that the ceiling is measured with
HEAD = ("layer", "ms", "share", "forward", "backward", "GFLOP/s", "of ceiling", "MB written")


@final
@dataclass(frozen=True)
class ProfileRow:
    """A layer, the loss or the optimizer, in a step: seconds, operations and bytes.

    `forward`, `backward` and `update` are seconds without those of layers inside, `operations` the
    additions and multiplications of the matrix products, `written` the bytes of y, of dx and of the
    gradients, for the optimizer those of values and slots.
    """

    name: str
    forward: float = 0.0
    backward: float = 0.0
    update: float = 0.0
    operations: int = 0
    written: int = 0

    @property
    def seconds(self) -> float:
        """The sum of forward, backward and update."""
        return self.forward + self.backward + self.update

    @property
    def gflops(self) -> float:
        """Billions of operations a second; 0 where there is no product."""
        return self.operations / self.seconds / 1e9 if self.seconds else 0.0


@final
@dataclass(frozen=True)
class Profile:
    """The rows of `profile`, which prints as a table, and `ceiling`, in GFLOP/s.

    The ceiling is the speed of a product of two matrices (512, 512) in the same run.
    """

    rows: tuple[ProfileRow, ...]
    steps: int
    ceiling: float

    @property
    def seconds(self) -> float:
        """The time of a step: the sum of the rows."""
        return sum(row.seconds for row in self.rows)

    def share(self, row: ProfileRow) -> float:
        """The share of a row in the time of a step, from 0 to 1."""
        return row.seconds / (self.seconds or 1.0)

    def _cells(self) -> list[list[str]]:
        parts = ("forward", "backward", "update", "operations", "written")
        sums: dict[str, Any] = {part: sum(getattr(r, part) for r in self.rows) for part in parts}
        total = ProfileRow("step", **sums)
        return [
            [
                row.name,
                f"{1e3 * row.seconds:.3f}",
                f"{self.share(row):.1%}",
                *(f"{1e3 * part:.3f}" if part else "" for part in (row.forward, row.backward)),
                f"{row.gflops:.1f}" if row.operations else "",
                f"{row.gflops / self.ceiling:.0%}" if row.operations else "",
                f"{row.written / 1e6:.3f}",
            ]
            for row in (*self.rows, total)
        ]

    def _caption(self) -> str:
        return f"median of {self.steps} steps; ceiling {self.ceiling:.0f} GFLOP/s"

    def __repr__(self) -> str:
        table = [list(HEAD), *self._cells()]
        name, *widths = (max(map(len, column)) for column in zip(*table, strict=True))
        lines = [
            f"{row[0]:{name}}"
            + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True))
            for row in table
        ]
        return "\n".join([*lines, self._caption()])

    def _repr_html_(self) -> str:
        return html_table(self._caption(), HEAD, self._cells())


def profile(trainer: Trainer, x: Samples, y: Samples, *, steps: int = 20) -> Profile:
    """Measures training steps on the batch (x, y), layer by layer, and changes nothing.

    Copies of model, loss and optimizer take one step that is not counted and `steps` that are. A
    time is the median of the steps; that of a container is its own, without the layers inside. The
    operations of products are known for dense, convolutional and recurrent layers and attention.

    Raises:
        InputError: x and y are not arrays of samples, steps is below 1, or what a step raises.

    >>> from tinynet import SGD, Dense, ReLU, Sequential, SoftmaxCrossEntropy
    >>> model = Sequential([Dense(4, 8), ReLU(), Dense(8, 3)])
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
    >>> found = profile(trainer, np.ones((16, 4), np.float32), np.zeros(16, np.int64))
    >>> [row.name for row in found.rows][:3]
    ['Sequential', 'layers.0  Dense(4, 8)', 'layers.1  ReLU()']
    """
    if not isinstance(trainer, Trainer):
        raise InputError(
            f"profile expects a Trainer, got a {type(trainer).__name__}: "
            "profile(Trainer(model, loss, optimizer), x, y)"
        )
    steps = whole_number("profile", "steps", steps)
    count = check_samples("profile", "x", x)
    if not count or check_samples("profile", "y", y) != count:
        raise InputError(
            "profile expects a batch, x and y with one number of samples, "
            f"got {count} and {count_samples(y)}"
        )
    model, loss, optimizer = deepcopy((trainer.model, trainer.loss, trainer.optimizer))
    x = input_cast(model.state_dict())(x)
    clock = _Clock()
    matrix = np.ones((CEILING, CEILING), optimizer.parameters[0].value.dtype)
    matrix @ matrix
    ceiling = 0.0
    with in_mode(training=True), np.errstate(over="ignore", invalid="ignore"):
        accumulate_gradients(model, loss, x, y, count)
        optimizer.step()
        clock.watch(model, loss)
        for _ in range(steps):
            clock.start_step()
            accumulate_gradients(model, loss, x, y, count)
            clock.time("optimizer", "update", optimizer.step)
            started = perf_counter()  # beside the steps, so that other load slows both
            matrix @ matrix
            ceiling = max(ceiling, 2 * CEILING**3 / (perf_counter() - started) / 1e9)
    slots = sum(_bytes(tuple(own.values())) for own in optimizer.state_dict()["slots"].values())
    values = sum(parameter.value.nbytes for parameter in optimizer.parameters)
    update = clock.median("optimizer", "update")
    row = ProfileRow(type(optimizer).__name__, update=update, written=values + slots)
    return Profile((*clock.rows(), row), steps, ceiling)


class _Clock:
    """Times the calls of layers; from each the time of the calls inside it is subtracted."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._steps: list[dict[tuple[str, str], float]] = []  # seconds by path and method
        self._inside = [0.0]  # seconds of the calls inside each call that runs
        self._operations: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._products: dict[str, int] = {}  # of the last forward, for its backward

    def start_step(self) -> None:
        self._steps.append(defaultdict(float))
        self._operations, self._written = defaultdict(int), defaultdict(int)

    def time(
        self,
        path: str,
        phase: str,
        call: Callable[[], Any],
        count: Callable[[Any], None] = lambda _: None,
    ) -> Any:
        """Times a call; `count` sees its result, and its own time is nobody's."""
        self._inside.append(0.0)
        started = perf_counter()
        result = call()
        taken = perf_counter() - started
        self._steps[-1][path, phase] += taken - self._inside.pop()
        count(result)
        self._inside[-1] += perf_counter() - started
        return result

    def watch(self, model: Layer, loss: Layer) -> None:
        """Wraps `forward` and `backward` of every layer."""
        for root, part in (("", model), ("loss", loss)):
            for inner, layer in part.named_layers():
                path = ".".join(filter(None, (root, inner)))
                leaf = len(layer.named_layers()) == 1
                name = f"{layer!r}" if leaf else type(layer).__name__
                self._names[path] = f"{path}  {name}" if path else name
                self._watch_layer(path, layer)

    def _watch_layer(self, path: str, layer: Layer) -> None:
        inside = {id(p) for _, sub in layer.named_layers()[1:] for p in sub.parameters()}
        own = [p for p in layer.parameters() if id(p) not in inside]
        forward, methods = layer.forward, ["backward"]
        if type(layer).backward_parameters is not Layer.backward_parameters:
            methods.append("backward_parameters")

        @wraps(forward)
        def timed_forward(*args: Any, **kwargs: Any) -> Any:
            def count(y: Any) -> None:
                x = args[0] if args else next(iter(kwargs.values()))
                self._products[path] = _operations(layer, x, y)
                self._operations[path] += self._products[path]
                self._written[path] += _bytes(y)

            return self.time(path, "forward", lambda: forward(*args, **kwargs), count)

        def timed(original: Callable[..., Any], times: int) -> Callable[..., Any]:
            def count(dx: Any) -> None:
                self._operations[path] += times * self._products[path]
                self._written[path] += _bytes(dx) + sum(_bytes(p.grad) for p in own)

            @wraps(original)
            def timed_backward(*args: Any, **kwargs: Any) -> Any:
                return self.time(path, "backward", lambda: original(*args, **kwargs), count)

            return timed_backward

        vars(layer)["forward"] = timed_forward
        for method, times in zip(methods, (2, 1), strict=False):  # dx and dw, or dw alone
            vars(layer)[method] = timed(getattr(layer, method), times)

    def median(self, path: str, phase: str) -> float:
        return statistics.median(step[path, phase] for step in self._steps)

    def rows(self) -> list[ProfileRow]:
        """A row for each layer, in the order of definition."""
        return [
            ProfileRow(
                name,
                self.median(path, "forward"),
                self.median(path, "backward"),
                operations=self._operations[path],
                written=self._written[path],
            )
            for path, name in self._names.items()
        ]


def _bytes(samples: Any) -> int:
    return sum(array.nbytes for array in arrays_of(samples) if isinstance(array, np.ndarray))


def _operations(layer: Layer, x: Array, y: Array) -> int:
    """Additions and multiplications of the products of a forward: two for each use of a weight.

    >>> _operations(Dense(4, 3), np.zeros((2, 4)), np.zeros((2, 3)))
    48
    """
    weights = sum(p.value.size for p in layer.parameters() if p.value.ndim > 1)
    match layer:
        case Conv2D():
            positions = y.size // y.shape[1]
        case ConvTranspose2D():
            positions = x.size // x.shape[1]
        case Dense() | Recurrent() | MultiHeadAttention():
            positions = x.size // x.shape[-1]
        case _:
            return 0
    # Attention has two more products: the scores, and their product with v.
    scores = 4 * x.size * x.shape[1] if isinstance(layer, MultiHeadAttention) else 0
    return int(2 * weights * positions + scores)
