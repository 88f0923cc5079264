"""Progress: the position of a run in epochs, steps and batches of the current epoch."""

import math
from dataclasses import asdict, dataclass
from typing import Any, final

from tinynet.datasets.batches import Batches
from tinynet.errors import DivergenceError, InputError
from tinynet.saving.state import State, check_keys
from tinynet.validation import finite_number, whole_number


@final
@dataclass
class Progress:
    """What is done: epochs and steps in all, and three sums over the current epoch."""

    epoch: int = 0
    step: int = 0
    batch: int = 0
    samples: int = 0
    loss_sum: float = 0.0  # over the samples
    size: int = 0  # of the data set; with another size or batch size the order is another
    batch_size: int = 0

    @property
    def batches(self) -> int:
        """The number of batches of an epoch, 0 before the first."""
        return math.ceil(self.size / self.batch_size) if self.batch_size else 0

    def begin(self, batches: Batches) -> None:
        """Starts an epoch, or continues the current one.

        Raises:
            InputError: the current epoch was started with other batches.
        """
        size, batch_size = len(batches.x), batches.batch_size
        if self.batch and (size, batch_size) != (self.size, self.batch_size):
            raise InputError(
                f"fit expects to continue within epoch {self.epoch + 1}, with "
                f"{self.size} samples and batch_size={self.batch_size}, "
                f"got {size} samples and batch_size={batch_size}"
            )
        self.size, self.batch_size = size, batch_size

    def check_finite(self, loss: float) -> None:
        """Raises DivergenceError if the loss is infinite or NaN."""
        if not math.isfinite(loss):
            raise DivergenceError(
                f"the loss became {loss} in step {self.step + 1}, epoch {self.epoch + 1}: try a "
                "lower learning rate or clip_norm, run preflight(trainer, x, y), or find the layer "
                "with detect_anomaly; the parameters are those before this step"
            )

    def count(self, loss: float, samples: int) -> None:
        """Counts a step."""
        self.step += 1
        self.batch += 1
        self.samples += samples
        self.loss_sum += loss * samples

    def finish_epoch(self) -> float:
        """Ends the epoch and returns its mean loss."""
        loss = self.loss_sum / self.samples
        self.epoch += 1
        self.batch = self.samples = 0
        self.loss_sum = 0.0
        return loss

    def state_dict(self) -> State:
        """All counts by name."""
        return asdict(self)

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has every count."""
        check_keys("Progress", state, self.state_dict())
        for name, value in state.items():
            if name == "loss_sum":
                finite_number("Progress", name, value)
            else:
                whole_number("Progress", name, value, at_least=0)

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        vars(self).update(state)
