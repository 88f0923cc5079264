"""A callback is told what a Trainer does, and may look at it and stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from tinynet.errors import InputError
from tinynet.saving.state import State, check_keys

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer


class Callback:
    """Hooks that do nothing: override the ones you need.

        class PrintLoss(Callback):
            def on_epoch_end(self, trainer):
                print(trainer.epoch, trainer.history.last["loss"])

    `trainer.stop()` in a hook ends the run behind this step or epoch. A callback with something to
    remember gives it by `state` and takes it back by `restoring`, see `tinynet.saving.state`; the Trainer
    keeps it in its checkpoints by the name of the class.
    """

    runs_last = False  # behind all others: so a checkpoint holds what they have come to

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step; `trainer.epochs` is what it is to reach."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first step of an epoch, or the first one after it was resumed in between."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After every step: `trainer.history.steps` has its figures."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the last step of an epoch: `trainer.history.last` has its figures."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step of all, also when the run was stopped."""

    def close(self) -> None:
        """At the very end, also after an error."""

    def state_dict(self) -> State:
        """What has to be remembered for a run to go on as if it had not been cut off."""
        return {}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless `load_state_dict` can take the state: by default, its keys."""
        check_keys(type(self).__name__, state, self.state_dict())

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)


@final
class Callbacks:
    """Those of one fit, by the names of their classes: the second of a kind has -2 behind it.

    Raises:
        InputError: what is given are no callbacks.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.named: dict[str, Callback] = {}
        for callback in callbacks:
            if not isinstance(callback, Callback):
                hint = f": write {callback.__name__}(...)" if isinstance(callback, type) else ""
                raise InputError(f"fit expects callbacks, got {callback!r}{hint}")
            kind = type(callback).__name__
            same = sum(type(other).__name__ == kind for other in self.named.values())
            self.named[f"{kind}-{same + 1}" if same else kind] = callback
        self._running = sorted(self.named.values(), key=lambda callback: callback.runs_last)
        # A call that does nothing takes its time, too, and this hook comes with every step.
        self._each_step = [
            c for c in self._running if type(c).on_step_end is not Callback.on_step_end
        ]

    def call(self, hook: str, trainer: Trainer) -> None:
        """Calls a hook of each of them."""
        for callback in self._running:
            getattr(callback, hook)(trainer)

    def step_end(self, trainer: Trainer) -> None:
        """As `call`, for those who do something after each step."""
        for callback in self._each_step:
            callback.on_step_end(trainer)

    def close(self) -> None:
        """Closes each of them."""
        for callback in self._running:
            callback.close()

    def state_dict(self) -> State:
        """What each of them remembers."""
        return {name: callback.state_dict() for name, callback in self.named.items()}

    def check_state_dict(self, state: State) -> None:
        """Raises InputError unless every callback that has a state can take it."""
        for name, callback in self.named.items():
            if name in state:
                callback.check_state_dict(state[name])

    def load_state_dict(self, state: State) -> None:
        """Gives every callback its state, if there is one."""
        self.check_state_dict(state)
        for name, callback in self.named.items():
            if name in state:
                callback.load_state_dict(state[name])
