"""How far a run has come: in epochs, and in the batches of the epoch that is under way."""

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
    """Counts of what is done; those after `step` are of the epoch under way, and 0 between two."""

    epoch: int = 0
    step: int = 0
    batch: int = 0
    samples: int = 0
    loss_sum: float = 0.0  # over the samples
    size: int = 0  # of the data set, and of its batches: another one has another order
    batch_size: int = 0

    @property
    def batches(self) -> int:
        """How many batches an epoch has, 0 before the first."""
        return math.ceil(self.size / self.batch_size) if self.batch_size else 0

    def begin(self, batches: Batches) -> None:
        """Takes up the epoch under way.

        Raises:
            InputError: it was begun with other batches.
        """
        size, batch_size = len(batches.x), batches.batch_size
        if self.batch and (size, batch_size) != (self.size, self.batch_size):
            raise InputError(
                f"fit expects to go on in the middle of epoch {self.epoch + 1}, with "
                f"{self.size} samples and batch_size={self.batch_size}, "
                f"got {size} samples and batch_size={batch_size}"
            )
        self.size, self.batch_size = size, batch_size

    def check_finite(self, loss: float) -> None:
        """Refuses to go on from a loss that is no number.

        Raises:
            DivergenceError: it is infinite or NaN.
        """
        if not math.isfinite(loss):
            raise DivergenceError(
                f"the loss became {loss} in step {self.step + 1}, epoch {self.epoch + 1}: try a "
                "lower learning rate or clip_norm, run preflight(trainer, x, y), or look for the place "
                "with detect_anomaly; the parameters are those before this step"
            )

    def count(self, loss: float, samples: int) -> None:
        """Takes in a step."""
        self.step += 1
        self.batch += 1
        self.samples += samples
        self.loss_sum += loss * samples

    def finish_epoch(self) -> float:
        """Returns the mean loss of the epoch, which is over."""
        loss = self.loss_sum / self.samples
        self.epoch += 1
        self.batch = self.samples = 0
        self.loss_sum = 0.0
        return loss

    def state_dict(self) -> State:
        """All of the counts."""
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
