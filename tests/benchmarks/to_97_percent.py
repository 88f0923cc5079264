"""784-128-10 to 97 % on the test digits, in one framework: to_97_percent.py NAME SEED FOLDER

Batches of 64, momentum SGD at rate 0.1, the same start and the same batches for each framework,
until the accuracy after an epoch is 97 %. Prints the accuracy and the peak memory in
megabytes (on Linux).
"""

import gzip
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

Functions = tuple[Callable[[Any], None], Callable[[], Any]]  # a step of rows, and predictions
RATE, MOMENTUM = 0.1, 0.9


def digits(folder: str, name: str) -> tuple[Any, Any]:
    def raw(kind: str, offset: int) -> Any:
        data = gzip.decompress(Path(folder, f"{name}-{kind}-ubyte.gz").read_bytes())
        return np.frombuffer(data, np.uint8, offset=offset)

    return raw("images-idx3", 16).reshape(-1, 784), raw("labels-idx1", 8).astype(np.int64)


def with_tinynet(start: Any, x: Any, y: Any, test: Any) -> Functions:
    from tinynet import SGD, Dense, ReLU, Rescale, Sequential, SoftmaxCrossEntropy

    model = Sequential([Rescale(1 / 255), Dense(784, 128), ReLU(), Dense(128, 10)])
    for parameter, value in zip(model.parameters(), start, strict=True):
        parameter.value = value
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), RATE, momentum=MOMENTUM)

    def step(rows: Any) -> None:
        loss(model(x[rows]), y[rows])
        model.backward_parameters(loss.backward())
        optimizer.step()

    return step, lambda: model.predict(test).argmax(axis=1)


def with_torch(start: Any, x: Any, y: Any, test: Any) -> Functions:
    import torch
    from torch import nn

    x, y, test = torch.tensor(x), torch.tensor(y), torch.tensor(test)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), start, strict=True):
            parameter.copy_(torch.tensor(value.T))
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM)

    def step(rows: Any) -> None:
        rows = torch.from_numpy(rows)
        optimizer.zero_grad()
        loss(model(x[rows].float().mul_(1 / 255)), y[rows]).backward()
        optimizer.step()

    def predictions() -> Any:
        with torch.inference_mode():
            return model(test.float().mul_(1 / 255)).argmax(1).numpy()

    return step, predictions


def with_jax(start: Any, x: Any, y: Any, test: Any) -> Functions:
    import jax
    import jax.numpy as jnp

    def logits(p: Any, x: Any) -> Any:
        return jax.nn.relu(x.astype(jnp.float32) / 255 @ p[0] + p[1]) @ p[2] + p[3]

    def loss(p: Any, x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(p, x)), y[:, None], 1).mean()

    def update(p: Any, slots: Any, x: Any, y: Any) -> Any:
        grads = jax.grad(loss)(p, x, y)
        slots = [MOMENTUM * slot + grad for slot, grad in zip(slots, grads, strict=True)]
        return [value - RATE * slot for value, slot in zip(p, slots, strict=True)], slots

    state = [jnp.array(value) for value in start], [jnp.zeros(value.shape) for value in start]
    labels, apply, compiled = y.astype(np.int32), jax.jit(logits), jax.jit(update)

    def step(rows: Any) -> None:
        nonlocal state
        state = compiled(*state, x[rows], labels[rows])

    return step, lambda: np.asarray(apply(state[0], test)).argmax(axis=1)


def with_sklearn(start: Any, x: Any, y: Any, test: Any) -> Functions:
    from sklearn.neural_network import MLPClassifier

    settings = {"momentum": MOMENTUM, "nesterovs_momentum": False, "alpha": 0.0, "shuffle": False}
    model = MLPClassifier((128,), solver="sgd", learning_rate_init=RATE, batch_size=64, **settings)
    scale = np.float32(1 / 255)
    model.partial_fit(x[:64] * scale, y[:64], classes=np.arange(10))  # makes the arrays
    for own, value in zip(
        (*model.coefs_, *model.intercepts_), (*start[::2], *start[1::2]), strict=True
    ):
        own[...] = value
    for slot in model._optimizer.velocities:
        slot[...] = 0

    def step(rows: Any) -> None:
        model.partial_fit(x[rows] * scale, y[rows])

    return step, lambda: model.predict(test * scale)


FRAMEWORKS = {
    "tinynet": with_tinynet,
    "torch": with_torch,
    "jax": with_jax,
    "sklearn": with_sklearn,
}


def main(name: str, seed: str, folder: str) -> None:
    (x, y), (test, labels) = digits(folder, "train"), digits(folder, "t10k")
    rng = np.random.default_rng(int(seed))
    sizes = (784, 128, 10)
    start = [
        array.astype(np.float32)
        for i, o in pairwise(sizes)
        for array in (rng.standard_normal((i, o)) * np.sqrt(2 / i), np.zeros(o))
    ]
    step, predictions = FRAMEWORKS[name](start, x, y, test)
    for _ in range(10):
        order = rng.permutation(len(x))
        for first in range(0, len(x) // 64 * 64, 64):
            step(order[first : first + 64])
        accuracy = np.mean(predictions() == labels)
        if accuracy >= 0.97:
            break
    status = Path("/proc/self/status").read_text()  # a maximum of resource may be of the parent
    print(accuracy, int(status.partition("VmHWM:")[2].split()[0]) / 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
