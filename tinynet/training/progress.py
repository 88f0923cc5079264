"""Progress: the position of a run in epochs, steps and batches of the current epoch."""

import math
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.errors import DivergenceError, InputError
from tinynet.losses.batch_loss import LossSum
from tinynet.samples import Samples, named_arrays
from tinynet.saving.state import State, check_keys
from tinynet.validation import finite_number, first_index, index_text, whole_number

_NEW_EPOCH: dict[str, Any] = {"batch": 0, "loss_sum": (), "divisor": ()}


def _heads(value: Any) -> tuple[Any, ...]:
    """One number for each head; files of 0.1 have a number for one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


@final
@dataclass
class Progress:
    """What is done: epochs and steps in all, and the batches and the loss of the current epoch."""

    epoch: int = 0
    step: int = 0
    batch: int = 0
    # Over the current epoch, for each head, and what to divide them by, see `LossSum`.
    loss_sum: tuple[float, ...] = ()
    divisor: tuple[float | None, ...] = ()
    size: int = 0  # of the data set; with another size or batch size the order is another
    batch_size: int = 0
    batches: int = 0  # of an epoch

    def check(self, batches: Batches) -> None:
        """Raises InputError if the current epoch was started with other batches."""
        size, batch_size, count = batches.size, batches.batch_size, len(batches)
        if self.batch and (size, batch_size, count) != (self.size, self.batch_size, self.batches):
            raise InputError(
                f"fit expects to continue within epoch {self.epoch + 1}, with {self.size} samples, "
                f"batch_size={self.batch_size} and {self.batches} batches, got {size} samples, "
                f"batch_size={batch_size} and {count} batches; restart_epoch=True starts this "
                "epoch again from the present weights, and a new Trainer around the same model "
                "starts a new run"
            )

    def begin(self, batches: Batches, *, restart: bool = False) -> None:
        """Starts an epoch, continues the current one and raises as `check`, or restarts it."""
        if not restart:
            self.check(batches)
        sizes = {"size": batches.size, "batch_size": batches.batch_size, "batches": len(batches)}
        self._set(**sizes, **(_NEW_EPOCH if restart else {}))

    def where_interrupted(self, epochs: int) -> str:
        """Where Ctrl-C ended `fit`, and how it continues."""
        if self.epoch >= epochs:
            return f"fit was interrupted after its last epoch, {self.epoch}"
        continues = "call it again with the same arguments to continue there"
        if not self.batch:
            where = f"before epoch {self.epoch + 1} of {epochs}, after step {self.step}"
            return f"fit was interrupted {where}; {continues}"
        return (
            f"fit was interrupted in epoch {self.epoch + 1} of {epochs}, after {self.batch} of "
            f"{self.batches} steps of this epoch, {self.step} in all; {continues}, or with "
            "restart_epoch=True to start this epoch again"
        )

    def nothing_trained(self, epochs: int) -> str:
        """Why a `fit` took no step."""
        if self.epoch < epochs:
            return "fit trained nothing: a callback stopped it before the first step"
        more = epochs or 1
        return (
            f"fit trained nothing: epochs={epochs} is the total, and {self.epoch} "
            f"{'is' if self.epoch == 1 else 'are'} done; epochs={self.epoch + more} trains "
            f"{more} more"
        )

    def check_loss(self, loss: float, total: LossSum, x: Samples) -> None:
        """Raises DivergenceError if the loss of a batch x is infinite or NaN.

        Raises InputError if it has other heads, or is a sum where they are means, as before.
        """
        undivided = [divisor is None for divisor in total.divisors]
        if self.batch and undivided != [divisor is None for divisor in self.divisor]:
            raise InputError(
                f"fit expects to continue within epoch {self.epoch + 1} with the loss that it was "
                "started with, got one with other heads or another reduction; restart_epoch=True "
                "starts this epoch again"
            )
        if not math.isfinite(loss):
            for name, array in named_arrays("x", x).items():
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    index = index_text(first_index(~np.isfinite(array)))
                    raise DivergenceError(
                        f"the loss became {loss} in step {self.step + 1}, epoch {self.epoch + 1}: "
                        f"{name} of this batch has NaN or infinity at index {index}; replace such "
                        "entries or leave their samples out. The parameters are those before this "
                        "step"
                    )
            raise DivergenceError(
                f"the loss became {loss} in step {self.step + 1}, epoch {self.epoch + 1}: try a "
                "lower learning rate or clip_norm, run preflight(trainer, x, y), or find the layer "
                "with detect_anomaly; the parameters are those before this step"
            )

    @property
    def loss(self) -> float:
        """The mean loss of the current epoch so far."""
        return LossSum(self.loss_sum, self.divisor).mean

    def count(self, loss: LossSum) -> None:
        """Counts a step."""
        epoch = LossSum(self.loss_sum, self.divisor)
        epoch.add(loss)
        self._set(
            step=self.step + 1,
            batch=self.batch + 1,
            loss_sum=epoch.totals,
            divisor=epoch.divisors,
        )

    def finish_epoch(self) -> None:
        """Counts an epoch."""
        self._set(epoch=self.epoch + 1, **_NEW_EPOCH)

    def _set(self, **counts: Any) -> None:
        vars(self).update(counts)  # all of them at once, whenever an interrupt comes

    def state_dict(self) -> State:
        """All counts by name."""
        return asdict(self)

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has every count."""
        check_keys("Progress", state, self.state_dict())
        sums, divisors = _heads(state["loss_sum"]), _heads(state["divisor"])
        if len(sums) != len(divisors):
            raise InputError(
                f"Progress expects a divisor for each loss_sum, got {len(divisors)} for {len(sums)}"
            )
        for value in sums:
            finite_number("Progress", "loss_sum", value)
        for value in divisors:
            finite_number("Progress", "divisor", 0 if value is None else value, at_least=0)
        for name in set(state) - {"loss_sum", "divisor"}:
            whole_number("Progress", name, state[name], at_least=0)

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        sums, divisors = _heads(state["loss_sum"]), _heads(state["divisor"])
        self._set(**state | {"loss_sum": sums, "divisor": divisors})
