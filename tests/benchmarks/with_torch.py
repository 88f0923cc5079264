"""The rows of compare.py in PyTorch, eager, from the start of a tinynet network."""

from typing import Any

import torch
from torch import nn
from with_tinynet import Task, Work, gradient_norm

import tinynet as t

VERSION = torch.__version__


class Function(nn.Module):  # type: ignore[misc]  # of any type, see pyproject.toml
    """A module of a function of x and of the modules inside."""

    def __init__(self, function: Any, *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.inside = function, nn.ModuleList(modules)

    def forward(self, x: Any) -> Any:
        return self.function(x, *self.inside)


def module(layer: t.Layer) -> Any:
    """The module of a layer, with the same weights."""
    name = type(layer).__name__
    state = {n: torch.tensor(p.value) for n, p in layer.named_parameters()}
    made: Any
    sizes: Any
    others: Any
    match layer:
        case t.Sequential():
            return nn.Sequential(*map(module, layer.layers))
        case t.Residual():
            shortcut = module(layer.shortcut) if layer.shortcut else nn.Identity()
            return Function(lambda x, a, b: a(x) + b(x), module(layer.body), shortcut)
        case t.Dense():
            state["weight"] = state["weight"].T.contiguous()
            made = nn.Linear(layer.in_features, layer.out_features, bias="bias" in state)
        case t.Conv2D():
            sizes = layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride
            others = {"padding": layer.padding, "groups": layer.groups, "bias": "bias" in state}
            made = nn.Conv2d(*sizes, **others)
        case t.BatchNorm():
            made = nn.BatchNorm2d(layer.num_features)
        case t.LayerNorm() | t.RMSNorm():
            made = getattr(nn, name)(layer.normalized_shape, eps=layer.eps)
        case t.RNN() | t.GRU() | t.LSTM():
            made = getattr(nn, name)(layer.input_size, layer.hidden_size, batch_first=True)
            made.load_state_dict({f"{n}_l0": value for n, value in state.items()})
            return Function(lambda x, inner: inner(x)[0], made)
        case t.MultiHeadAttention():
            made = nn.MultiheadAttention(layer.embed_dim, layer.num_heads, batch_first=True)
            made.load_state_dict(attention_names(state))
            return Function(lambda x, inner: inner(x, x, x, need_weights=False)[0], made)
        case t.TransformerBlock():
            sizes = layer.embed_dim, layer.num_heads, layer.dim_feedforward
            others = {"activation": "gelu", "batch_first": True, "norm_first": True}
            made = nn.TransformerEncoderLayer(*sizes, dropout=0.0, **others)
            for part in ("linear1.weight", "linear2.weight"):
                state[part] = state[part].T.contiguous()
            state = attention_names(state)
        case t.MaxPool2D():
            return nn.MaxPool2d(layer.kernel_size)
        case t.GlobalAvgPool2D():
            return Function(lambda x: x.mean((2, 3)))
        case t.Rescale():
            return Function(lambda x: x.float().mul_(layer.scale))
        case t.Flatten():
            return nn.Flatten()
        case _:
            return getattr(nn, name)()
    made.load_state_dict(state, strict=False)  # running statistics start at 0 and 1 in both
    return made


def attention_names(state: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("out_proj_", "out_proj."): value for name, value in state.items()}


def build(task: Task) -> Work | None:
    net = module(task.net)
    results: list[Any] = []
    x, y = torch.from_numpy(task.x), torch.from_numpy(task.y)
    batches = [r if isinstance(r, slice) else torch.from_numpy(r) for r in task.batches]
    if task.kind == "step":
        loss, optimizer = nn.CrossEntropyLoss(), make_optimizer(task, net)

        def turn() -> None:
            results.clear()
            for rows in batches:
                optimizer.zero_grad()
                value = loss(net(x[rows]), y[rows])
                value.backward()
                optimizer.step()
                results.append(value.item())

    elif task.kind == "layer":

        def turn() -> None:
            for _ in batches:
                net.zero_grad()
                given = x.detach().requires_grad_()
                out = net(given)
                out.backward(y)
            norm = gradient_norm(p.grad.numpy() for p in net.parameters())
            results[:] = [out.detach().numpy(), given.grad.numpy(), norm]

    else:
        net.eval()

        def turn() -> None:
            with torch.inference_mode():
                for rows in batches:
                    out = net(x[rows])
                results[:] = [out.numpy()]

    return Work(turn, lambda: results)


def make_optimizer(task: Task, net: nn.Module) -> Any:
    if task.optimizer == "adam":
        return torch.optim.Adam(net.parameters(), task.rate)
    momentum = 0.9 if task.optimizer == "momentum" else 0.0
    return torch.optim.SGD(net.parameters(), task.rate, momentum=momentum)
