"""Wrong gradients that gradient checks find: python tests/benchmarks/gradient_checkers.py

With --cost it prints the time of check_gradients for layers of growing size.

Compares check_gradients with the rules of three frameworks, rewritten from their sources for
float64 with their default settings; none of the frameworks is needed:

- torch slow, torch fast: torch.autograd.gradcheck of PyTorch 2 (`_slow_gradcheck`,
  `_fast_gradcheck`, `_adjusted_atol`), eps 1e-6, atol 1e-5, rtol 1e-3. The fast mode draws its
  vectors from a generator with a fixed seed; here they are drawn anew.
- chainer: chainer.gradient_check.check_backward of Chainer 7, eps 1e-3, atol 1e-5, rtol 1e-4, with
  a normal upstream gradient, which it leaves to the caller.
- jax: jax.test_util.check_vjp, eps 1e-4, atol and rtol 1e-5, with its vectors drawn anew, too.

Each draw has its own layer, batch of 4 (of 8 for BatchNorm) and wrong entry. The first two rows are
right layers, which a rule should not catch.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import (
    Array,
    Dense,
    Flatten,
    GradientCheckError,
    Layer,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    check_gradients,
)

Rng = np.random.Generator


class Slightly(Layer):
    """A layer whose gradients are changed by the function `change`."""

    def __init__(self, right: Layer, change: Callable[[list[Array]], None]) -> None:
        self.right, self.change = right, change

    def forward(self, x: Array) -> Array:
        """x -> y of the right layer."""
        y: Array = self.right(x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy -> dx, changed as the gradients of the parameters are."""
        gradients: list[Array] = [self.right.backward(dy)]
        gradients += [p.grad for p in self.right.parameters() if p.grad is not None]
        self.change(gradients)
        return gradients[0]


class BatchNorm(Layer):
    """y = gamma · (x - mean) / √(variance + 1e-5) + beta; backward takes N or N - 1 for N."""

    def __init__(self, features: int, rng: Rng, less: int = 0) -> None:
        self.gamma = Parameter(rng.uniform(0.5, 1.5, features))
        self.beta = Parameter(rng.standard_normal(features))
        self.less = less

    def forward(self, x: Array) -> Array:
        """x: (N, D) -> y: (N, D)."""
        self.deviation = np.sqrt(x.var(axis=0) + 1e-5)
        self.normal = (x - x.mean(axis=0)) / self.deviation
        y: Array = self.gamma.value * self.normal + self.beta.value
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, D) -> dx: (N, D)."""
        self.gamma.grad, self.beta.grad = (dy * self.normal).sum(axis=0), dy.sum(axis=0)
        d = dy * self.gamma.value
        share = (d * self.normal).sum(axis=0) / (len(d) - self.less)
        dx: Array = (d - d.mean(axis=0) - self.normal * share) / self.deviation
        return dx


# The rules: (layer in float64, x, rng) -> whether the gradients pass


class Run:
    """The layer's tensors, x first, with the outputs and gradients that the rules need."""

    def __init__(self, layer: Layer, x: Array) -> None:
        self.layer = layer.astype(np.float64)
        self.x = x.copy()
        self.tensors = [self.x, *(p.value for p in self.layer.parameters())]

    def outputs(self) -> Array:
        """A copy of y for the present tensors."""
        return np.array(self.layer(self.x))

    def gradients(self, dy: Array) -> list[Array]:
        """The gradients by all tensors for this dy."""
        self.layer(self.x)
        dx = self.layer.backward(dy)
        return [dx, *(p.grad for p in self.layer.parameters() if p.grad is not None)]

    def perturbed(self, steps: list[Array]) -> Array:
        """A copy of y for tensors changed by these steps; restores the tensors."""
        before = [tensor.copy() for tensor in self.tensors]
        for tensor, step in zip(self.tensors, steps, strict=True):
            tensor += step
        y = self.outputs()
        for tensor, was in zip(self.tensors, before, strict=True):
            tensor[...] = was
        return y


def tinynet(layer: Layer, x: Array, rng: Rng) -> bool:
    """check_gradients with its defaults."""
    try:
        check_gradients(layer, x, rng=rng)
    except GradientCheckError:
        return False
    return True


def torch_slow(layer: Layer, x: Array, _rng: Rng) -> bool:
    """Every entry of the Jacobian: |a - n| <= 1e-5 + 1e-3 |n|."""
    run, eps, rows = Run(layer, x), 1e-6, 2000
    y = run.outputs()
    for position, tensor in enumerate(run.tensors):
        flat = tensor.reshape(-1)
        for start in range(0, flat.size, rows):  # a Jacobian may be too large to hold at once
            stop = min(start + rows, flat.size)
            numeric = np.empty((stop - start, y.size))
            for entry in range(start, stop):
                was = flat[entry]
                flat[entry] = was - eps
                low = run.outputs()
                flat[entry] = was + eps
                numeric[entry - start] = ((run.outputs() - low) / (2 * eps)).ravel()
                flat[entry] = was
            analytic = np.empty_like(numeric)
            for output in range(y.size):
                dy = np.zeros(y.size)
                dy[output] = 1
                gradient = run.gradients(dy.reshape(y.shape))[position]
                analytic[:, output] = gradient.ravel()[start:stop]
            if not (np.abs(analytic - numeric) <= 1e-5 + 1e-3 * np.abs(numeric)).all():
                return False
    return True


def torch_fast(layer: Layer, x: Array, rng: Rng) -> bool:
    """One random product for each tensor, of nonnegative vectors."""
    run, eps = Run(layer, x), 1e-6
    units = [rng.random(tensor.shape) for tensor in run.tensors]
    units = [unit / np.linalg.norm(unit) for unit in units]
    v = rng.random(run.outputs().shape)
    v /= np.linalg.norm(v)
    gradients = run.gradients(v)
    for position, unit in enumerate(units):
        steps = [np.zeros_like(tensor) for tensor in run.tensors]
        steps[position] = eps * unit
        high, low = run.perturbed(steps), run.perturbed([-step for step in steps])
        numeric = float(np.sum(v * (high - low))) / (2 * eps)
        analytic = float(np.sum(gradients[position] * unit))
        atol = 1e-5 * float(unit.sum()) * float(v.sum())
        if not abs(analytic - numeric) <= atol + 1e-3 * abs(numeric):
            return False
    return True


def chainer(layer: Layer, x: Array, rng: Rng) -> bool:
    """One random direction of all tensors together, no entry of which is near 0."""
    run, eps = Run(layer, x), 1e-3
    normal = [rng.standard_normal(tensor.shape) for tensor in run.tensors]
    size = sum(tensor.size for tensor in run.tensors)
    square = sum(float(np.sum(z**2)) for z in normal)
    direction = [np.copysign(np.sqrt(0.99 * z**2 / square + 0.01 / size), z) for z in normal]
    dy = rng.standard_normal(run.outputs().shape)
    high, low = (run.perturbed([sign * eps * d for d in direction]) for sign in (1, -1))
    numeric = float(np.sum(dy * (high - low))) / (2 * eps)
    terms = zip(run.gradients(dy), direction, strict=True)
    analytic = sum(float(np.sum(gradient * d)) for gradient, d in terms)
    return abs(numeric - analytic) <= 1e-5 + 1e-4 * abs(analytic)


def jax(layer: Layer, x: Array, rng: Rng) -> bool:
    """One random direction of all tensors together, not normalized."""
    run, eps = Run(layer, x), 1e-4
    tangent = [rng.standard_normal(tensor.shape) for tensor in run.tensors]
    dy = rng.standard_normal(run.outputs().shape)
    high, low = (run.perturbed([sign * eps * t for t in tangent]) for sign in (1, -1))
    expected = float(np.sum(dy * (high - low))) * 0.5 / eps
    terms = zip(run.gradients(dy), tangent, strict=True)
    product = sum(float(np.sum(gradient * t)) for gradient, t in terms)
    return abs(product - expected) <= 1e-5 + 1e-5 * abs(expected)


RULES = {
    "tinynet": tinynet,
    "torch slow": torch_slow,
    "torch fast": torch_fast,
    "chainer": chainer,
    "jax": jax,
}


# The bugs: rng -> (layer, x)


def dense(width: int, change: Callable[[list[Array], Rng], None]) -> Callable[[Rng], Any]:
    """A square Dense layer whose gradients are changed."""

    def draw(rng: Rng) -> tuple[Layer, Array]:
        seed = int(rng.integers(2**32))
        layer = Dense(width, width, rng=rng)
        wrong = Slightly(layer, lambda grads: change(grads, np.random.default_rng(seed)))
        return wrong, rng.standard_normal((4, width))

    return draw


def one_entry(gradients: list[Array], rng: Rng) -> None:
    """1 % more in one entry of the weight's gradient."""
    weight = gradients[1]
    weight[tuple(rng.integers(weight.shape))] *= 1.01


def times(factor: float) -> Callable[[list[Array], Rng], None]:
    """All gradients times a factor."""

    def change(gradients: list[Array], _rng: Rng) -> None:
        for gradient in gradients:
            gradient *= factor

    return change


def batch_norm(less: int) -> Callable[[Rng], tuple[Layer, Array]]:
    """BatchNorm of 8 samples and 5 features."""
    return lambda rng: (BatchNorm(5, rng, less), rng.standard_normal((8, 5)))


BUGS: dict[str, Callable[[Rng], Any]] = {
    "none: Dense 20 x 20": dense(20, times(1.0)),
    "none: BatchNorm": batch_norm(0),
    "one entry +1 %, 20 x 20": dense(20, one_entry),
    "one entry +1 %, 200 x 200": dense(200, one_entry),
    "everything x 1.001, 20 x 20": dense(20, times(1.001)),
    "everything x 1.00001, 20 x 20": dense(20, times(1.00001)),
    "BatchNorm, variance by N - 1": batch_norm(1),
}


def two_layers(hidden: int, rng: Rng) -> Sequential:
    """The network of the MNIST example."""
    return Sequential(
        [
            Flatten(),
            Rescale(1 / 255),
            Dense(784, hidden, rng=rng),
            ReLU(),
            Dense(hidden, 10, rng=rng),
        ]
    )


def cost() -> None:
    """Prints the time of a check for a batch of 8, the median of five."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 28, 28), np.uint8)
    cases: list[tuple[str, Layer, Array]] = [
        (f"Dense({width}, {width})", Dense(width, width, rng=rng), rng.standard_normal((8, width)))
        for width in (16, 32, 64, 110, 128, 256, 512, 1024)
    ]
    cases += [
        ("784-10-10 on bytes", two_layers(10, rng), images),
        ("784-10-10 on floats", two_layers(10, rng), images.astype(float)),
        ("784-128-10 on bytes", two_layers(128, rng), images),
        ("784-1024-10 on bytes", two_layers(1024, rng), images),
    ]
    print(f"{'batch 8':22}{'entries':>10}{'checked':>11}{'seconds':>9}")
    for name, layer, x in cases:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            report = check_gradients(layer, x)
            times.append(time.perf_counter() - start)
        tensors = report.tensors.values()
        entries, checked = sum(t.entries for t in tensors), sum(t.checked for t in tensors)
        print(f"{name:22}{entries:10,}{checked:11,}{statistics.median(times):9.2f}", flush=True)


def main() -> None:
    """Prints the share of draws that each rule catches."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=100, help="draws of each bug (100)")
    parser.add_argument("--large", type=int, default=20, help="draws of 200 x 200 (20)")
    parser.add_argument(
        "--cost", action="store_true", help="time check_gradients on growing layers"
    )
    arguments = parser.parse_args()
    if arguments.cost:
        cost()
        return
    head = "".join(f"{name:>12}" for name in RULES)
    print(f"{'share of draws caught':31}{'draws':>6}{head}")
    seconds = dict.fromkeys(RULES, 0.0)
    for bug, draw in BUGS.items():
        draws = arguments.large if "200 x 200" in bug else arguments.draws
        line = f"{bug:31}{draws:6}"
        for name, rule in RULES.items():
            start, caught = time.perf_counter(), 0
            for seed in range(draws):
                rng = np.random.default_rng(seed)
                layer, x = draw(rng)
                caught += not rule(layer, x, rng)
            seconds[name] += time.perf_counter() - start
            line += f"{caught / draws:12.0%}"
        print(line, flush=True)
    print(f"{'seconds in all':37}" + "".join(f"{spent:12.0f}" for spent in seconds.values()))


if __name__ == "__main__":
    main()
