"""An interrupt at any point of `fit`: the next `fit` ends with the same bits, or refuses."""

import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from resume_run import Centre, digest

import tinynet
from tinynet import (
    SGD,
    Accuracy,
    Array,
    BatchNorm,
    Dense,
    DivergenceError,
    Dropout,
    History,
    InputError,
    Parameter,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.callbacks import Callback, Checkpoint, CSVLog, Doctor, EarlyStopping
from tinynet.optimizers.optimizer import Optimizer, Slots
from tinynet.optimizers.schedules import OnPlateau
from tinynet.training.step import DelayedInterrupts

# Where the interrupt comes as a `with` is left, the garbage collector closes the file.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PACKAGE = str(Path(tinynet.__file__).parent)
RNG = np.random.default_rng(0)
Y = np.tile([0, 1], 6)
X = (RNG.standard_normal((12, 3)) + Y[:, None]).astype(np.float32)
VALIDATION = X[::-1] + np.float32(0.3), Y  # with wrong labels: it soon gets worse
EPOCHS = 4


def small_trainer() -> Trainer:
    """A run with everything that an interrupt could leave half done."""
    layers = [Centre(3), Dense(3, 3, rng=0), BatchNorm(3), ReLU(), Dropout(0.2, rng=1)]
    model = Sequential([*layers, Dense(3, 2, rng=2)])
    rate = OnPlateau(0.2, patience=0, factor=0.5, monitor="validation_accuracy")
    optimizer = SGD(model.parameters(), rate, momentum=0.9, clip_norm=1.0)
    return Trainer(model, SoftmaxCrossEntropy([1.0, 2.0]), optimizer, metrics=[Accuracy()])


def callbacks_in(folder: Path, saving: bool = False) -> list[Callback]:
    folder.mkdir(exist_ok=True)
    found: list[Callback] = [
        EarlyStopping(patience=2),
        CSVLog(folder / "log.csv"),
        Doctor(every_steps=2, report=lambda _: None),
    ]
    save = Checkpoint(folder / "run", every_steps=2, best="validation_accuracy")
    return found + [save] * saving


def train(trainer: Trainer, callbacks: list[Callback], **changes: Any) -> None:
    settings: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 5, "micro_batch_size": 3}
    trainer.fit(X, Y, validation=VALIDATION, callbacks=callbacks, **settings | changes)


class Interrupter:
    """Raises at the n-th line that the package executes inside the block; with 0 it only counts."""

    def __init__(self, at: int, files: tuple[str, ...] = ("",)) -> None:
        self.at, self.lines = at, 0
        self.files = tuple(f"{PACKAGE}/{name}" for name in files)

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self.files):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        return self

    @contextmanager
    def tracing(self) -> Iterator[None]:
        former = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(former)


def bits(trainer: Trainer, folder: Path) -> tuple[str, bytes]:
    return digest(trainer), (folder / "log.csv").read_bytes()


def lines_of_a_run(folder: Path, files: tuple[str, ...], saving: bool) -> int:
    counter, trainer, callbacks = (
        Interrupter(0, files),
        small_trainer(),
        callbacks_in(folder, saving),
    )
    with counter.tracing():
        train(trainer, callbacks)
    return counter.lines


def outcome(
    folder: Path, at: int, files: tuple[str, ...], saving: bool, whole: tuple[str, bytes]
) -> str:
    """What the fit after an interrupt at this line ends with."""
    trainer, callbacks = small_trainer(), callbacks_in(folder, saving)
    with pytest.raises(KeyboardInterrupt), Interrupter(at, files).tracing():
        train(trainer, callbacks)
    assert all(layer.training for _, layer in trainer.model.named_layers())
    if trainer.stopping and digest(trainer) == whole[0]:
        return "the run had ended"
    try:
        train(trainer, callbacks if at % 2 else callbacks_in(folder, saving))
    except InputError as error:
        if "as it was interrupted: restore a checkpoint" not in str(error):
            raise
        newest = Checkpoint.newest(folder / "run")
        if newest is not None:
            train(trainer.restore(newest), callbacks_in(folder, saving))
            assert bits(trainer, folder) == whole
        return "refused with a sentence"
    return "the same bits" if bits(trainer, folder) == whole else f"other bits after line {at}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    trainer = small_trainer()
    train(trainer, callbacks_in(folder))
    return bits(trainer, folder)


@pytest.fixture(autouse=True)
def _former_handler_of_interrupts() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)  # an interrupt may have come before `fit` restored it


# The lines of the first take decisions; in a layer any line is as good as another.
DECISIONS = ("training/", "callbacks/", "monitor", "metrics/", "optimizers/", "datasets/")
PARTS = {
    "where decisions are taken": (DECISIONS, False, 40),
    "anywhere": (("",), False, 20),
    "with checkpoints": ((*DECISIONS, "saving/checkpoint", "saving/state"), True, 5),
}


def outcomes(part: str, points: int, folder: Path, whole: tuple[str, bytes]) -> Counter[str]:
    files, saving, _ = PARTS[part]
    lines = lines_of_a_run(folder / "count", files, saving)
    return Counter(
        outcome(folder / f"{at}", int(at), files, saving, whole)
        for at in np.linspace(1, 0.99 * lines, points, dtype=int)
    )


@pytest.mark.parametrize("part", PARTS)
def test_a_fit_after_an_interrupt_at_any_line_ends_with_the_same_bits_or_refuses(
    part: str, whole: tuple[str, bytes], tmp_path: Path
) -> None:
    points = PARTS[part][-1]
    found = outcomes(part, points, tmp_path, whole)
    assert found.keys() <= {"the same bits", "refused with a sentence", "the run had ended"}
    assert found["the same bits"] > points / 2


@given(share=st.floats(0, 0.99))
def test_a_fit_after_an_interrupt_at_a_drawn_line_ends_with_the_same_bits_or_refuses(
    whole: tuple[str, bytes], share: float
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder)
        at = 1 + int(share * lines_of_a_run(path / "count", ("",), saving=False))
        found = outcome(path / "run", at, ("",), False, whole)
    assert found in {"the same bits", "refused with a sentence", "the run had ended"}


@pytest.mark.sweep
@pytest.mark.parametrize("part", PARTS)
def test_a_fit_after_an_interrupt_at_many_more_lines_ends_with_the_same_bits_or_refuses(
    part: str, whole: tuple[str, bytes], tmp_path: Path
) -> None:
    found = outcomes(part, 40 * PARTS[part][-1], tmp_path, whole)
    print(found)
    assert found.keys() <= {"the same bits", "refused with a sentence", "the run had ended"}


class Interrupting(Optimizer):
    """Plain gradient descent; Ctrl-C is pressed while the second parameter of step 2 is updated."""

    def __init__(self, parameters: list[Parameter], times: int) -> None:
        super().__init__(parameters, 0.1)
        self.times = times

    def direction(self, grad: Array, slots: Slots) -> Array:  # noqa: ARG002  # it has none
        if self.steps == 1 and grad.shape == self.parameters[1].value.shape:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        return grad


def interrupted_while_updating(times: int) -> tuple[Trainer, Trainer]:
    """A run that was interrupted, and one that was not."""
    trainers = []
    for presses in (times, 0):
        model = Sequential([Dense(3, 4, rng=0), ReLU(), Dense(4, 2, rng=1)])
        optimizer = Interrupting(model.parameters(), presses)
        trainers.append(Trainer(model, SoftmaxCrossEntropy(), optimizer))
    with pytest.raises(KeyboardInterrupt):
        trainers[0].fit(X, Y, epochs=3, batch_size=5)
    return trainers[0], trainers[1]


def test_ctrl_c_waits_while_the_optimizer_updates_the_parameters() -> None:
    interrupted, other = interrupted_while_updating(times=1)
    assert interrupted.step == interrupted.optimizer.steps == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    interrupted.fit(X, Y, epochs=3, batch_size=5)
    other.fit(X, Y, epochs=3, batch_size=5)
    for one, two in zip(interrupted.model.parameters(), other.model.parameters(), strict=True):
        np.testing.assert_array_equal(one.value, two.value)


def test_after_a_second_ctrl_c_that_does_not_wait_fit_step_and_save_refuse(tmp_path: Path) -> None:
    interrupted, _ = interrupted_while_updating(times=2)
    sentence = (
        "^Interrupting expects parameters after a whole step, got some that step 2 has updated and "
        "some that it has not, as it was interrupted: restore a checkpoint, or load states"
    )
    with pytest.raises(InputError, match=sentence):
        interrupted.fit(X, Y, epochs=3, batch_size=5)
    with pytest.raises(InputError, match=sentence):
        interrupted.optimizer.step()
    with pytest.raises(InputError, match=sentence):
        interrupted.save(tmp_path / "run.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("added", [False, True])
def test_a_step_whose_counting_is_interrupted_is_counted_once(
    added: bool, whole: tuple[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, add = small_trainer(), History.add_step

    def interrupted(history: History, values: Mapping[str, float]) -> None:
        monkeypatch.setattr(History, "add_step", add)
        if added:
            add(history, values)
        raise KeyboardInterrupt

    monkeypatch.setattr(History, "add_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(trainer, callbacks_in(tmp_path))
    assert (trainer.step, len(trainer.history.steps["loss"])) == (1, 1)
    train(trainer, callbacks_in(tmp_path))
    assert bits(trainer, tmp_path) == whole


def test_fit_in_another_thread_leaves_ctrl_c_alone() -> None:
    handlers = []
    interrupts = DelayedInterrupts()

    def run() -> None:
        interrupts.start()
        with interrupts:
            handlers.append(signal.getsignal(signal.SIGINT))
        interrupts.stop()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


class Fails(Callback):
    """Raises in one hook, once, in an epoch counted from 0."""

    def __init__(self, hook: str, epoch: int) -> None:
        self.hook, self.epoch = hook, epoch

    def call(self, hook: str, trainer: Trainer) -> None:
        if (hook, trainer.epoch) == (self.hook, self.epoch):
            self.hook = "none"
            raise ZeroDivisionError

    on_fit_start = partialmethod(call, "on_fit_start")
    on_epoch_start = partialmethod(call, "on_epoch_start")
    on_step_end = partialmethod(call, "on_step_end")
    on_epoch_end = partialmethod(call, "on_epoch_end")


@pytest.mark.parametrize("hook", ["on_fit_start", "on_epoch_start", "on_step_end", "on_epoch_end"])
def test_a_run_goes_on_after_an_error_of_a_callback_as_if_it_had_not_been(
    hook: str, whole: tuple[str, bytes], tmp_path: Path
) -> None:
    trainer, fails = small_trainer(), Fails(hook, 0 if hook == "on_fit_start" else 1)
    with pytest.raises(ZeroDivisionError):
        train(trainer, [*callbacks_in(tmp_path), fails])
    train(trainer, [*callbacks_in(tmp_path), fails])
    assert bits(trainer, tmp_path) == whole


@pytest.mark.parametrize("error", [KeyboardInterrupt, FloatingPointError])
def test_early_stopping_gives_back_the_best_weights_after_any_error(
    error: type[BaseException],
) -> None:
    class Raises(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            if trainer.step == 8:
                raise error

    seen: list[Array] = []

    class Record(Callback):
        def on_epoch_end(self, trainer: Trainer) -> None:
            seen.append(trainer.model.parameters()[0].value.copy())

    trainer, stopping = small_trainer(), EarlyStopping(patience=9)
    with pytest.raises(error):
        train(trainer, [stopping, Record(), Raises()])
    assert (stopping.best_epoch, len(seen)) == (1, 2)
    np.testing.assert_array_equal(trainer.model.parameters()[0].value, seen[0])


def test_early_stopping_gives_back_the_best_weights_after_divergence() -> None:
    best: list[Array] = []

    class Explode(Callback):
        def on_epoch_end(self, trainer: Trainer) -> None:
            best.append(trainer.model.parameters()[-1].value.copy())
            trainer.model.parameters()[-1].value[:] = np.inf

    trainer, stopping = small_trainer(), EarlyStopping(patience=9)
    with pytest.raises(DivergenceError, match="in step 4, epoch 2"):
        train(trainer, [stopping, Explode()])
    assert (stopping.best_epoch, len(best)) == (1, 1)
    np.testing.assert_array_equal(trainer.model.parameters()[-1].value, best[0])


def test_after_an_error_at_the_very_end_of_a_run_the_next_fit_has_the_best_weights() -> None:
    class FailsAtTheEnd(Callback):
        def on_fit_end(self, trainer: Trainer) -> None:  # noqa: ARG002  # as in the base class
            raise ZeroDivisionError

    trainer, stopping = small_trainer(), EarlyStopping(patience=9)
    with pytest.raises(ZeroDivisionError):
        train(trainer, [stopping, FailsAtTheEnd()])
    best = trainer.model.parameters()[0].value.copy()
    train(trainer, [stopping])
    np.testing.assert_array_equal(trainer.model.parameters()[0].value, best)
    assert stopping.best_epoch < EPOCHS


def test_early_stopping_leaves_the_weights_alone_if_no_epoch_was_ended() -> None:
    trainer, fails = small_trainer(), Fails("on_step_end", 0)
    with pytest.raises(ZeroDivisionError):
        train(trainer, [EarlyStopping(), fails])
    once = small_trainer()
    with pytest.raises(ZeroDivisionError):
        train(once, [Fails("on_step_end", 0)])
    assert digest(trainer) == digest(once)


def test_an_error_after_the_best_weights_are_back_leaves_them() -> None:
    class Raises(Callback):
        def on_fit_end(self, trainer: Trainer) -> None:
            raise ZeroDivisionError(trainer.epoch)

    trainer, once = small_trainer(), small_trainer()
    with pytest.raises(ZeroDivisionError):
        train(trainer, [EarlyStopping(patience=2), Raises()])
    train(once, [EarlyStopping(patience=2)])
    assert digest(trainer) == digest(once)
    train(trainer, [EarlyStopping(patience=2)])  # which knows that the run had ended
    assert digest(trainer) == digest(once)


def test_an_interrupted_run_with_early_stopping_can_be_saved_and_restored(
    whole: tuple[str, bytes], tmp_path: Path
) -> None:
    trainer, fails = small_trainer(), Fails("on_step_end", 2)
    with pytest.raises(ZeroDivisionError):
        train(trainer, [*callbacks_in(tmp_path), fails])
    trainer.save(tmp_path / "run.npz")
    restored = small_trainer().restore(tmp_path / "run.npz")
    train(restored, callbacks_in(tmp_path))
    assert bits(restored, tmp_path) == whole


def test_early_stopping_of_an_interrupted_run_starts_again_with_another_trainer() -> None:
    stopping = EarlyStopping(patience=2)
    with pytest.raises(ZeroDivisionError):
        train(small_trainer(), [stopping, Fails("on_step_end", 2)])
    used, fresh = small_trainer(), small_trainer()
    train(used, [stopping])
    train(fresh, [EarlyStopping(patience=2)])
    assert digest(used) == digest(fresh)
