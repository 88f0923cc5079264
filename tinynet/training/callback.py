"""Callback: functions that a Trainer calls during training, to observe it or to stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from tinynet.errors import InputError
from tinynet.keywords import NamedKeywords
from tinynet.saving.state import State, check_keys
from tinynet.signature import constructor_call

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer


class Callback(NamedKeywords):
    """Hooks that do nothing: override the ones you need.

        class PrintLoss(Callback):
            def on_epoch_end(self, trainer):
                print(trainer.epoch, trainer.history.last["loss"])

    `trainer.stop()` in a hook ends the run after this step or epoch.

    A callback with a state that a resumed run needs overrides `state_dict` and `load_state_dict`,
    and `check_state_dict` where comparing the keys does not suffice. Checkpoints of the Trainer
    store the state under the name of the class.
    """

    runs_last = False  # after all others: a checkpoint then holds their state after this hook

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step; `trainer.epochs` is the total number of epochs."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first step of an epoch, or before the next one if it is resumed within."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After every step: `trainer.history.steps` has its values."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the last step of an epoch: `trainer.history.last` has its metrics."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when the run was stopped."""

    def on_exception(self, trainer: Trainer) -> None:
        """When an error or Ctrl-C ends `fit`; the next fit gets the state of the callback."""

    def close(self) -> None:
        """When `fit` ends, also after an error."""

    def state_dict(self) -> State:
        """What a resumed run needs to continue as if it had not been interrupted."""
        return {}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has the keys of `state_dict()`."""
        check_keys(type(self).__name__, state, self.state_dict())

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state that `state_dict` returned; a Trainer has checked it before."""
        self.check_state_dict(state)

    def __repr__(self) -> str:
        return constructor_call(self) or f"{type(self).__name__}(...)"


@final
class Callbacks:
    """The callbacks of one fit by the names of their classes; a second of a class gets "-2".

    Raises:
        InputError: an item is not a callback.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.named: dict[str, Callback] = {}
        if not isinstance(callbacks, Sequence):
            got = type(callbacks).__name__
            raise InputError(f"fit expects a list, callbacks=[...], got {got}")
        for callback in callbacks:
            if not isinstance(callback, Callback):
                hint = f": write {callback.__name__}(...)" if isinstance(callback, type) else ""
                raise InputError(f"fit expects callbacks, got {callback!r}{hint}")
            kind = type(callback).__name__
            same = sum(type(other).__name__ == kind for other in self.named.values())
            self.named[f"{kind}-{same + 1}" if same else kind] = callback
        self._running = sorted(self.named.values(), key=lambda callback: callback.runs_last)
        # Even an empty call costs time, and this hook is called in every step.
        self._each_step = [
            c for c in self._running if type(c).on_step_end is not Callback.on_step_end
        ]

    def call(self, hook: str, trainer: Trainer) -> None:
        """Calls a hook of every callback."""
        for callback in self._running:
            getattr(callback, hook)(trainer)

    def step_end(self, trainer: Trainer) -> None:
        """Calls `on_step_end` of every callback that overrides it."""
        for callback in self._each_step:
            callback.on_step_end(trainer)

    def close(self) -> None:
        """Closes every callback."""
        for callback in self._running:
            callback.close()

    def state_dict(self) -> State:
        """The state of every callback."""
        return {name: callback.state_dict() for name, callback in self.named.items()}

    def check_state_dict(self, state: State) -> None:
        """Raises InputError unless each state that is there fits its callback."""
        for name, callback in self.named.items():
            if name in state:
                callback.check_state_dict(state[name])

    def load_state_dict(self, state: State) -> None:
        """Loads the state of every callback that has one."""
        self.check_state_dict(state)
        for name, callback in self.named.items():
            if name in state:
                callback.load_state_dict(state[name])
