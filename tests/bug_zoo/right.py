"""Right layers in plain NumPy, one of each kind: a specimen of the zoo changes a line of one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import Array, Layer, Parameter


class Function(Layer):
    """y = f(x), entry by entry, with its derivative."""

    def __init__(self, f: Callable[[Array], Any], derivative: Callable[[Array], Any]) -> None:
        self.f, self.derivative = f, derivative

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(self.f(x))

    def backward(self, dy: Array) -> Any:
        return dy * self.derivative(self.x)


class Linear(Layer):
    """y = x W + b."""

    def __init__(self, inputs: int = 4, outputs: int = 3) -> None:
        rng = np.random.default_rng(1)
        self.weight = Parameter(rng.standard_normal((inputs, outputs)))
        self.bias = Parameter(rng.standard_normal(outputs))

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.weight.value + self.bias.value

    def backward(self, dy: Array) -> Any:
        self.weight.grad = self.x.T @ dy
        self.bias.grad = dy.sum(axis=0)
        return dy @ self.weight.value.T


class SquareLinear(Linear):
    """As many units as inputs: only the values show a transpose."""

    def __init__(self) -> None:
        super().__init__(4, 4)


class Gain(Layer):
    """y = g x, one g for each feature."""

    def __init__(self) -> None:
        self.g = Parameter([0.5, -1.5, 2.0, 0.7])

    def forward(self, x: Array) -> Array:
        self.x = x
        return x * self.g.value

    def backward(self, dy: Array) -> Any:
        self.g.grad = (dy * self.x).sum(axis=0)
        return dy * self.g.value


class ReLU(Layer):
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.maximum(x, 0)

    def backward(self, dy: Array) -> Any:
        return dy * (self.x > 0)


class Sigmoid(Layer):
    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = 1 / (1 + np.exp(-x))
        return self.y.copy()

    def backward(self, dy: Array) -> Any:
        return dy * self.y * (1 - self.y)


class Tanh(Layer):
    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = np.tanh(x)
        return self.y.copy()

    def backward(self, dy: Array) -> Any:
        return dy * (1 - self.y**2)


class Softmax(Layer):
    """y = exp(x) / Σ exp(x) along the last axis."""

    def forward(self, x: Array) -> Array:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        self.y = e / e.sum(axis=-1, keepdims=True)
        return np.asarray(self.y.copy())

    def backward(self, dy: Array) -> Any:
        return self.y * (dy - (dy * self.y).sum(axis=-1, keepdims=True))


class LogSoftmax(Layer):
    def forward(self, x: Array) -> Array:
        shifted = x - x.max(axis=-1, keepdims=True)
        y = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        self.softmax = np.exp(y)
        return np.asarray(y)

    def backward(self, dy: Array) -> Any:
        return dy - self.softmax * dy.sum(axis=-1, keepdims=True)


class Dropout(Layer):
    """Inverted dropout: kept entries are divided by the probability to keep one."""

    keep = 0.6

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def forward(self, x: Array) -> Array:
        self.mask = self.rng.random(x.shape) < self.keep
        return x * self.mask / self.keep

    def backward(self, dy: Array) -> Any:
        return dy * self.mask / self.keep


class Norm(Layer):
    """y = gamma · x̂ + beta with x̂ = (x - mean) / √(variance + epsilon), along an axis."""

    axis = 0  # 0: batch normalization, -1: layer normalization
    epsilon = 1e-5

    def __init__(self) -> None:
        self.gamma = Parameter([0.5, 1.5, -1.0, 2.0, 0.8])
        self.beta = Parameter([0.1, 0.2, 0.3, 0.4, 0.5])

    def forward(self, x: Array) -> Array:
        mean = x.mean(axis=self.axis, keepdims=True)
        self.deviation = np.sqrt(x.var(axis=self.axis, keepdims=True) + self.epsilon)
        self.normal = (x - mean) / self.deviation
        return np.asarray(self.gamma.value * self.normal + self.beta.value)

    def backward(self, dy: Array) -> Any:
        self.gamma.grad = (dy * self.normal).sum(axis=0)
        self.beta.grad = dy.sum(axis=0)
        d = dy * self.gamma.value
        mean = d.mean(axis=self.axis, keepdims=True)
        share = (d * self.normal).mean(axis=self.axis, keepdims=True)
        return (d - mean - self.normal * share) / self.deviation


class BatchNorm(Norm):
    """With running averages, which backward does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.running_mean = np.zeros(5)

    def forward(self, x: Array) -> Array:
        self.running_mean = 0.9 * self.running_mean + 0.1 * x.mean(axis=0)
        return super().forward(x)


class LayerNorm(Norm):
    axis = -1


class Embedding(Layer):
    """y = table[ids]: a row for each id."""

    def __init__(self) -> None:
        self.table = Parameter(np.random.default_rng(0).standard_normal((5, 3)))

    def forward(self, ids: Array) -> Array:
        self.ids = ids
        return self.table.value[ids]

    def backward(self, dy: Array) -> Any:
        self.table.grad = np.zeros_like(self.table.value)
        np.add.at(self.table.grad, self.ids, dy)


class Convolution(Layer):
    """y[n, t] = Σ_k w[k] x[n, t + k], a filter of three along axis 1."""

    def __init__(self) -> None:
        self.filter = Parameter([0.5, -1.0, 2.0])

    def forward(self, x: Array) -> Array:
        self.x = x
        w, steps = self.filter.value, x.shape[1] - 2
        return np.asarray(sum(w[k] * x[:, k : k + steps] for k in range(3)))

    def backward(self, dy: Array) -> Any:
        steps, dx = dy.shape[1], np.zeros_like(self.x)
        for k in range(3):
            dx[:, k : k + steps] += self.filter.value[k] * dy
        self.filter.grad = np.array(
            [(dy * self.x[:, k : k + steps]).sum() for k in range(3)], dy.dtype
        )
        return dx


class MaxPool(Layer):
    """The larger of each two neighbours, (N, T) -> (N, T / 2)."""

    def forward(self, x: Array) -> Array:
        self.pairs = x.reshape(len(x), -1, 2)
        return np.asarray(self.pairs.max(axis=2))

    def backward(self, dy: Array) -> Any:
        first = self.pairs.argmax(axis=2)[..., None] == np.arange(2)
        return (dy[..., None] * first).reshape(len(dy), -1)


class SlidingMax(Layer):
    """The largest of each three neighbours, with overlap."""

    def forward(self, x: Array) -> Array:
        windows = np.stack([x[:, k : x.shape[1] - 2 + k] for k in range(3)], axis=2)
        self.shape, self.index = x.shape, windows.argmax(axis=2)
        return np.asarray(windows.max(axis=2))

    def backward(self, dy: Array) -> Any:
        dx = np.zeros(self.shape)
        for n, t in np.ndindex(*dy.shape):
            dx[n, t + self.index[n, t]] += dy[n, t]
        return dx


class MeanOverTime(Layer):
    """(N, T, D) -> (N, D)."""

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return np.asarray(x.mean(axis=1))

    def backward(self, dy: Array) -> Any:
        return np.repeat(dy[:, None], self.shape[1], axis=1) / self.shape[1]


class Residual(Layer):
    """y = x + tanh(x W)."""

    def __init__(self) -> None:
        self.weight = Parameter(np.random.default_rng(2).standard_normal((4, 4)))

    def forward(self, x: Array) -> Array:
        self.x, self.h = x, np.tanh(x @ self.weight.value)
        return np.asarray(x + self.h)

    def inner(self, dy: Array) -> Array:
        d = dy * (1 - self.h**2)
        self.weight.grad = self.x.T @ d
        return np.asarray(d @ self.weight.value.T)

    def backward(self, dy: Array) -> Any:
        return dy + self.inner(dy)


class TwoWays(Layer):
    """y = first(x) + second(x)."""

    def __init__(self) -> None:
        self.first, self.second = Linear(), Sigmoid3()

    def forward(self, x: Array) -> Array:
        return np.asarray(self.first(x) + self.second(x))

    def backward(self, dy: Array) -> Any:
        return self.first.backward(dy) + self.second.backward(dy)


class Sigmoid3(Layer):
    """The sigmoid of the first three features."""

    def forward(self, x: Array) -> Array:
        self.shape, self.y = x.shape, 1 / (1 + np.exp(-x[:, :3]))
        return self.y.copy()

    def backward(self, dy: Array) -> Any:
        dx = np.zeros(self.shape)
        dx[:, :3] = dy * self.y * (1 - self.y)
        return dx


class Recurrent(Layer):
    """h[t] = tanh(x[t] + h[t - 1] U), the last h is y: (N, T, D) -> (N, D)."""

    def __init__(self) -> None:
        self.u = Parameter(np.random.default_rng(3).standard_normal((3, 3)) / 2)

    def forward(self, x: Array) -> Array:
        self.states = [np.zeros((len(x), 3))]
        for t in range(x.shape[1]):
            self.states.append(np.tanh(x[:, t] + self.states[-1] @ self.u.value))
        self.shape = x.shape
        return self.states[-1].copy()

    def backward(self, dy: Array) -> Any:
        dx, self.u.grad, dh = np.zeros(self.shape), np.zeros((3, 3)), dy
        for t in reversed(range(self.shape[1])):
            d = dh * (1 - self.states[t + 1] ** 2)
            dx[:, t] = d
            self.u.grad += self.states[t].T @ d
            dh = d @ self.u.value.T
        return dx


class OverTime(Layer):
    """The same y = x W at each step: (N, T, D) -> (N, T, H)."""

    def __init__(self) -> None:
        self.weight = Parameter(np.random.default_rng(4).standard_normal((3, 2)))

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(x @ self.weight.value)

    def backward(self, dy: Array) -> Any:
        self.weight.grad = np.einsum("ntd,nth->dh", self.x, dy)
        return dy @ self.weight.value.T


class MeanSquare(Layer):
    """L = Σ (z - t)² / N."""

    def forward(self, z: Array, t: Array) -> float:
        self.gap = z - t
        return float(np.sum(self.gap**2) / len(z))

    def backward(self) -> Any:
        return 2 * self.gap / len(self.gap)


class CrossEntropy(Layer):
    """L = mean of -log softmax(z)[label]."""

    def forward(self, z: Array, labels: Array) -> float:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        self.p, self.labels = e / e.sum(axis=1, keepdims=True), labels
        return float(-np.log(self.p[np.arange(len(z)), labels]).mean())

    def backward(self) -> Any:
        dz = self.p.copy()
        dz[np.arange(len(dz)), self.labels] -= 1
        return dz / len(dz)


class BinaryCrossEntropy(Layer):
    """L = mean of log(1 + exp(z)) - t z."""

    def forward(self, z: Array, t: Array) -> float:
        self.z, self.t = z, t
        return float(np.mean(np.logaddexp(0, z) - t * z))

    def backward(self) -> Any:
        return (1 / (1 + np.exp(-self.z)) - self.t) / self.z.size


class Hinge(Layer):
    """L = mean of max(0, 1 - t z) with t of -1 and 1."""

    def forward(self, z: Array, t: Array) -> float:
        self.z, self.t = z, t
        return float(np.maximum(0, 1 - t * z).mean())

    def backward(self) -> Any:
        return np.where(self.t * self.z < 1, -self.t, 0.0) / self.z.size


class Huber(Layer):
    """L = Σ of d² / 2 up to |d| = 1, then |d| - 1/2."""

    def forward(self, z: Array, t: Array) -> float:
        self.d = z - t
        size = np.abs(self.d)
        return float(np.where(size < 1, self.d**2 / 2, size - 0.5).sum())

    def backward(self) -> Any:
        return np.clip(self.d, -1, 1)


class Absolute(Layer):
    """L = Σ |z - t|."""

    def forward(self, z: Array, t: Array) -> float:
        self.d = z - t
        return float(np.abs(self.d).sum())

    def backward(self) -> Any:
        return np.sign(self.d)
