"""Doctor: looks for faults of training while it runs, such as dead units or a loss plateau."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.health.activations import leaf_calls, stuck_units, weight_parameters
from tinynet.health.finding import Finding
from tinynet.health.gradient_flow import LIMIT, WEAK, flow_of
from tinynet.parameter import Array
from tinynet.samples import Samples, arrays_of, concatenate, count_samples
from tinynet.saving.state import State, check_keys
from tinynet.training.callback import Callback
from tinynet.validation import whole_number

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer

SAMPLES = 256  # of the last batches: with fewer a unit may be inactive by chance
WINDOW = 20  # steps whose losses are averaged
BLOWN_UP = 1.5  # times the loss at the start,
SIGNIFICANT = 4.0  # and so many standard errors of the difference above it
LEARNED = 0.5  # of the loss at the start: below it, short steps are the end of learning
STALLED = 0.9  # of the loss at the start: above it, after SETTLED steps, little was learned
SETTLED = 100  # steps, before which weights that started at 0 change by much of their norm
FAST, SLOW = 0.1, 1e-7  # norm of a step, relative to that of the weights
NEARLY = 100.0  # times SLOW: if all steps are below it, the rate is too low, and no layer at fault
SLOW_IF_STALLED = 3e-5  # where the loss has hardly fallen
# Findings that an earlier one explains: their advice would be of no use, or contradict it.
FLOW = {"vanishing gradient", "exploding gradient"}
EXPLAINED_BY = {
    "steps too short": FLOW | {"steps too long", "loss blow-up", "loss plateau"},
    "steps too long": FLOW | {"steps too short"},
    "loss plateau": FLOW | {"steps too short"},
    "loss blow-up": {"exploding gradient", "steps too short"},
    "dead units": {"vanishing gradient"},
    "vanishing gradient": {"saturated units", "dead units"},
}
IMPROVEMENT = 0.001  # by which a loss has to fall, relative to the best before


@final
class Doctor(Callback):
    """Looks for stuck units, a vanishing gradient, steps too long or short, a loss that stalls.

    Every `every_steps` steps it checks the last samples, their gradient and the next step, after
    each epoch the losses of the last `patience` epochs. The first finding of each name is kept in
    `findings` and its text passed to `report`, unless an earlier finding explains it. Training
    continues with the same numbers as without the doctor.

    Raises:
        InputError: a number below 1, or a report that is not a function.
    """

    def __init__(
        self,
        *,
        every_steps: int = 200,
        patience: int = 5,
        report: Callable[[str], object] = print,
    ) -> None:
        self.every_steps = whole_number("Doctor", "every_steps", every_steps)
        self.patience = whole_number("Doctor", "patience", patience)
        if not callable(report):
            raise InputError(f"Doctor expects report to be a function of a text, got {report!r}")
        self.report = report
        self.findings: list[Finding] = []
        self._reported: set[str] = set()
        self._before: list[tuple[str, Array]] = []
        self._samples: list[Samples] = []

    def on_fit_start(self, trainer: Trainer) -> None:  # noqa: ARG002  # all hooks get it
        """Discards weights and samples of an earlier fit."""
        self._before, self._samples = [], []

    def on_step_end(self, trainer: Trainer) -> None:
        """Checks if it is due; the length of a step is measured in the step after."""
        found: list[Finding] = []
        if self._before:
            found += _step_lengths(trainer, self._before)
            self._before = []
        steps_to_go = -trainer.step % self.every_steps
        if steps_to_go * count_samples(trainer.batch) < SAMPLES:
            self._samples.append(trainer.batch)
        if not steps_to_go:
            found += _blow_up(trainer.history.steps["loss"])
            trained = {id(parameter) for parameter in trainer.optimizer.parameters}
            named = [(n, p) for n, p in weight_parameters(trainer.model) if id(p) in trained]
            found = self._examined(trainer, {name for name, _ in named}) + found
            if trainer.step >= SETTLED:
                self._before = [(name, p.value.copy()) for name, p in named]
        self._report(trainer, trainer.epoch + 1, found)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Checks the losses of the last epochs."""
        losses = trainer.history.epochs["loss"]
        if len(losses) <= self.patience:
            return
        best_before, best = min(losses[: -self.patience]), min(losses[-self.patience :])
        if best > best_before - IMPROVEMENT * abs(best_before):
            evidence = (
                f"The best loss of the last {self.patience} epochs is {best:.4g}, that of the "
                f"epochs before {best_before:.4g}."
            )
            advice = "Lower the learning rate (OnPlateau, Cosine), or stop (EarlyStopping)."
            if _stalled(trainer, best):
                advice = "It has learned nothing so far: preflight(trainer, x, y) looks for causes."
            self._report(trainer, trainer.epoch, [Finding("loss plateau", evidence, advice)])

    def state_dict(self) -> State:
        """The names of the findings that were reported."""
        return {"reported": sorted(self._reported)}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is that of a Doctor."""
        check_keys("Doctor", state, ("reported",))
        names = state["reported"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"Doctor expects reported to be a list of names, got {names!r:.60}")

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        self._reported.update(state["reported"])

    def _examined(self, trainer: Trainer, trained: set[str]) -> list[Finding]:
        """Stuck units, and the flow of the gradients of the last step."""
        # Sequences may have another length in each batch.
        shapes = _shapes(trainer.batch)
        x = concatenate([samples for samples in self._samples if _shapes(samples) == shapes])
        self._samples = []
        # On a copy: a forward of the model itself could draw random numbers or update buffers.
        model = deepcopy(trainer.model)
        _, calls = leaf_calls(model, x)
        flow, stuck = flow_of(model, calls, trained), stuck_units(calls)
        flowing = flow.findings(WEAK if _stalled(trainer) else LIMIT) if flow else []
        # Saturated units make a gradient vanish, and one that vanishes makes dead units.
        saturated = [finding for finding in stuck if finding.name == "saturated units"]
        return [*saturated, *flowing, *stuck]

    def _report(self, trainer: Trainer, epoch: int, findings: list[Finding]) -> None:
        for finding in findings:
            explained = self._reported & EXPLAINED_BY.get(finding.name, set())
            if finding.name not in self._reported and not explained:
                self.findings.append(finding)
                self._reported.add(finding.name)
                self.report(f"epoch {epoch}, step {trainer.step}: {finding}")


def _stalled(trainer: Trainer, loss: float | None = None) -> bool:
    """Whether little was learned: the loss is still near that of the first steps."""
    losses = trainer.history.steps["loss"]
    if loss is None:
        loss = fmean(losses[-WINDOW:])
    return len(losses) >= SETTLED and loss > STALLED * fmean(losses[:WINDOW])


def _shapes(samples: Samples) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in arrays_of(samples)]


def _blow_up(losses: Sequence[float]) -> list[Finding]:
    if len(losses) < 2 * WINDOW:
        return []
    first = losses[:WINDOW]
    start, now = fmean(first), fmean(losses[-WINDOW:])
    chance = SIGNIFICANT * math.sqrt(2 * variance(first) / WINDOW)
    if now <= max(BLOWN_UP * start, start + chance):
        return []
    evidence = f"The mean loss of {WINDOW} steps was {start:.4g} at the start and is {now:.4g} now."
    return [Finding("loss blow-up", evidence, "Lower the learning rate, or clip with clip_norm.")]


def _step_lengths(trainer: Trainer, before: list[tuple[str, Array]]) -> list[Finding]:
    """In a healthy run, the norm of a step is about a thousandth of the norm of the weights."""
    rates, losses = (trainer.history.steps[name] for name in ("learning_rate", "loss"))
    # At the end of a schedule steps are meant to be short.
    share = rates[-1] / max(rates) if max(rates) else 1.0
    learning = fmean(losses[-WINDOW:]) > LEARNED * fmean(losses[:WINDOW])
    named = dict(trainer.model.named_parameters())
    norms = {name: float(np.linalg.norm(old)) for name, old in before}
    ratios = {
        name: float(np.linalg.norm(named[name].value - old)) / norms[name]
        for name, old in before
        if norms[name]
    }
    all_short = all(ratio < NEARLY * SLOW * share for ratio in ratios.values())
    longest = max(ratios, key=ratios.__getitem__, default="")
    if longest and ratios[longest] < SLOW_IF_STALLED * share and _stalled(trainer):
        evidence = (
            f"The loss has hardly fallen, and the longest step changed {longest} by "
            f"{ratios[longest]:.2g} of its norm; about 0.001 is usual."
        )
        return [Finding("steps too short", evidence, "Raise the learning rate.")]
    findings = []
    for name, ratio in ratios.items():
        evidence = f"A step changed {name} by {ratio:.2g} of its norm; about 0.001 is usual."
        if ratio > FAST:
            findings.append(Finding("steps too long", evidence, "Lower the learning rate."))
        elif learning and ratio < SLOW * share:
            advice = (
                "Raise the learning rate."
                if all_short
                else "Other weights take longer ones: look for a layer that passes no gradient."
            )
            findings.append(Finding("steps too short", evidence, advice))
    return findings
