"""The rows of compare.py in JAX, compiled by jit, from the start of a tinynet network.

A network is (parameters, function): function(parameters, x, statistics) gives y, and appends the
new running statistics of each BatchNorm to a list.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from with_tinynet import Task, Work, gradient_norm

import tinynet as t

VERSION = jax.__version__
Net = tuple[Any, Callable[[Any, Any, list[Any]], Any]]
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "ReLU": jax.nn.relu,
    "GELU": lambda x: jax.nn.gelu(x, approximate=False),
    "SiLU": jax.nn.silu,
    "Sigmoid": jax.nn.sigmoid,
    "Tanh": jnp.tanh,
    "Dropout": lambda x: x,  # of rate 0, inside of a transformer block
    "Flatten": lambda x: x.reshape(len(x), -1),
    "GlobalAvgPool2D": lambda x: x.mean((2, 3)),
}


def net_of(layer: t.Layer) -> Net:
    """The network of a layer, with the same weights."""
    own = {name: jnp.array(p.value) for name, p in layer.named_parameters()}
    match layer:
        case t.Sequential():
            return chain([net_of(inner) for inner in layer.layers])
        case t.Residual():
            body = net_of(layer.body)
            other: Net = net_of(layer.shortcut) if layer.shortcut else ([], lambda _p, x, _s: x)
            return [body[0], other[0]], lambda p, x, s: body[1](p[0], x, s) + other[1](p[1], x, s)
        case t.Dense():
            return own, lambda p, x, _: x @ p["weight"] + p["bias"]
        case t.Conv2D():
            return own, convolution(layer)
        case t.BatchNorm():
            return own, batch_norm
        case t.LayerNorm():
            return own, lambda p, x, _: centered(x, -1) * p["weight"] + p["bias"]
        case t.LSTM() | t.GRU() | t.RNN():
            return own, recurrent(type(layer).__name__, layer.hidden_size)
        case t.MultiHeadAttention():
            return own, lambda p, x, _: attention(p, x, layer.num_heads)
        case t.TransformerBlock():
            return block(layer)
        case t.MaxPool2D():
            size = layer.kernel_size
            return [], lambda _p, x, _: lax.reduce_window(
                x, -jnp.inf, lax.max, (1, 1, size, size), (1, 1, size, size), "VALID"
            )
        case t.Rescale():
            return [], lambda _p, x, _: x.astype(jnp.float32) * np.float32(layer.scale)
        case _:
            function = FUNCTIONS[type(layer).__name__]
            return [], lambda _p, x, _: function(x)


def chain(nets: list[Net]) -> Net:
    def apply(parameters: Any, x: Any, statistics: list[Any]) -> Any:
        for own, (_, function) in zip(parameters, nets, strict=True):
            x = function(own, x, statistics)
        return x

    return [own for own, _ in nets], apply


def convolution(layer: t.Conv2D) -> Callable[[Any, Any, Any], Any]:
    pad, step = (
        (size, size) if isinstance(size, int) else size for size in (layer.padding, layer.stride)
    )

    def apply(p: Any, x: Any, _: Any) -> Any:
        y = lax.conv_general_dilated(
            x, p["weight"], step, [(side, side) for side in pad], feature_group_count=layer.groups
        )
        return y + p["bias"][:, None, None] if "bias" in p else y

    return apply


def centered(x: Any, axis: Any) -> Any:
    """x with mean 0 and variance 1."""
    return (x - x.mean(axis, keepdims=True)) * lax.rsqrt(x.var(axis, keepdims=True) + 1e-5)


def batch_norm(p: Any, x: Any, statistics: list[Any]) -> Any:
    axes = (0, 2, 3)
    statistics.append((0.1 * lax.stop_gradient(x.mean(axes)), lax.stop_gradient(x.var(axes))))
    return centered(x, axes) * p["weight"][:, None, None] + p["bias"][:, None, None]


def recurrent(name: str, size: int) -> Callable[[Any, Any, Any], Any]:
    def step(state: Any, ones: Any, p: Any) -> Any:
        h, c = state
        other = h @ p["weight_hh"].T + p["bias_hh"]
        if name == "RNN":
            h = jnp.tanh(ones + other)
        elif name == "GRU":
            (r, z, n), (hr, hz, hn) = jnp.split(ones, 3, 1), jnp.split(other, 3, 1)
            r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
            h = (1 - z) * jnp.tanh(n + r * hn) + z * h
        else:
            i, f, g, o = jnp.split(ones + other, 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def apply(p: Any, x: Any, _: Any) -> Any:
        inputs = (x @ p["weight_ih"].T + p["bias_ih"]).swapaxes(0, 1)
        start = jnp.zeros((len(x), size), x.dtype)
        return lax.scan(lambda state, at: step(state, at, p), (start, start), inputs)[1].swapaxes(
            0, 1
        )

    return apply


def attention(p: Any, x: Any, heads: int) -> Any:
    n, steps, width = x.shape
    parts = x @ p["in_proj_weight"].T + p["in_proj_bias"]
    q, k, v = (a.reshape(n, steps, heads, -1) for a in jnp.split(parts, 3, 2))
    y = jax.nn.dot_product_attention(q, k, v).reshape(n, steps, width)
    return y @ p["out_proj_weight"].T + p["out_proj_bias"]


def block(layer: t.TransformerBlock) -> Net:
    parts = {
        name: net_of(getattr(layer, name))
        for name in ("norm1", "self_attn", "norm2", "linear1", "hidden_activation", "linear2")
    }

    def apply(p: Any, x: Any, s: list[Any]) -> Any:
        for names in (("norm1", "self_attn"), tuple(parts)[2:]):
            y = x
            for name in names:
                y = parts[name][1](p[name], y, s)
            x = x + y
        return x

    return {name: own for name, (own, _) in parts.items()}, apply


def build(task: Task) -> Work | None:
    parameters, function = net_of(task.net)
    results: list[Any] = []
    if task.kind == "step":
        return steps(task, parameters, function)
    if task.kind == "layer":

        def both(p: Any, x: Any, dy: Any) -> Any:
            def run(p: Any, x: Any) -> Any:
                statistics: list[Any] = []
                return function(p, x, statistics), statistics

            y, back, statistics = jax.vjp(run, p, x, has_aux=True)
            return y, back(dy), statistics

        x, dy, compiled = jnp.array(task.x), jnp.array(task.y), jax.jit(both)

        def turn() -> None:
            for _ in task.batches:
                y, (grads, dx), _ = jax.block_until_ready(compiled(parameters, x, dy))
            norm = gradient_norm(np.asarray(g) for g in jax.tree.leaves(grads))
            results[:] = [np.asarray(y), np.asarray(dx), norm]

    else:
        call = jax.jit(lambda p, x: function(p, x, []))

        def turn() -> None:
            for rows in task.batches:
                y = np.asarray(call(parameters, task.x[rows]))
            results[:] = [y]

    return Work(turn, lambda: results)


def steps(task: Task, parameters: Any, function: Any) -> Work:
    def loss(p: Any, x: Any, y: Any) -> Any:
        statistics: list[Any] = []
        logits = jax.nn.log_softmax(function(p, x, statistics))
        return -jnp.take_along_axis(logits, y[:, None], 1).mean(), statistics

    def step(p: Any, slots: Any, x: Any, y: Any) -> Any:
        (value, statistics), grads = jax.value_and_grad(loss, has_aux=True)(p, x, y)
        if task.optimizer == "adam":
            m, v, n = slots
            m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
            v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
            n = n + 1
            first, second = 1 - 0.9**n, 1 - 0.999**n
            slots = m, v, n
            way = jax.tree.map(lambda a, b: a / first / (jnp.sqrt(b / second) + 1e-8), m, v)
        elif task.optimizer == "momentum":
            way = slots = jax.tree.map(lambda a, g: 0.9 * a + g, slots, grads)
        else:
            way = grads
        return jax.tree.map(lambda a, d: a - task.rate * d, p, way), slots, value, statistics

    compiled = jax.jit(step, donate_argnums=(0, 1))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    adam = task.optimizer == "adam"
    state: list[Any] = [
        parameters,
        (zeros, jax.tree.map(jnp.zeros_like, zeros), 0.0) if adam else zeros,
    ]
    results: list[Any] = []
    x: Any = task.x
    labels: Any = task.y.astype(np.int32)
    if isinstance(task.batches[0], slice):  # all of x in each step: it is copied once
        x, labels = jnp.array(x), jnp.array(labels)

    def turn() -> None:
        results.clear()
        for rows in task.batches:
            state[0], state[1], value, _ = compiled(*state, x[rows], labels[rows])
            results.append(value.item())  # in each step, as in the others

    return Work(turn, lambda: results)
