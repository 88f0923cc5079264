"""tinynet beside PyTorch, JAX, scikit-learn and plain NumPy: python tests/benchmarks/compare.py

Peers that are not installed are left out. In each row all of them start from the same weights, take
the same batches in the same order, in float32, with the threads that they take by themselves. After
the first turn, which is not counted, their losses (or outputs and gradients) must agree. Then they
take turns; the ratios of each turn are compared, for the machine may be slower in the next one.

Without --rows and --quick the table and the picture are written into docs/speed.md.
"""

import argparse
import importlib
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import compare_scripts
import numpy as np
from compare_rows import GROUPS, Row
from with_tinynet import Task, Work, build_trainer

from tinynet.datasets import load_mnist

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PICTURE = DOCS / "speed.md", DOCS / "pictures" / "speed.png"
BEGIN, END = "<!-- compare.py writes from here -->\n", "<!-- to here -->\n"
NAMES = {
    "tinynet": "tinynet",
    "torch": "PyTorch",
    "jax": "JAX",
    "sklearn": "scikit-learn",
    "numpy": "NumPy",
    "loop": "a loop by hand",
}
TOLERANCE = 1e-3  # of the losses of a turn, of outputs, of gradients; relative to the largest


@dataclass(frozen=True)
class Settings:
    """How often and how long: turns, the pause between them, the share of the steps of a row."""

    turns: int = 30
    pause: float = 0.1  # seconds, in which the threads of the one before come to rest
    share: float = 1.0

    @property
    def scripts(self) -> int:
        """Turns of the rows that are whole processes."""
        return max(1, self.turns // 6)


@dataclass(frozen=True)
class Result:
    """The times of a row, turn by turn, in seconds a step (or in megabytes)."""

    row: Row
    times: dict[str, list[float]]
    difference: float  # of losses, or of outputs and gradients: the largest, relative
    ceiling: float  # GFLOP/s of a product in the same turns, 0 where it is not measured

    def ratios(self, peer: str) -> list[float]:
        """tinynet's time of the peer's, in each turn, sorted."""
        pairs = zip(self.times["tinynet"], self.times[peer], strict=True)
        return sorted(own / other for own, other in pairs)

    def ratio(self, peer: str) -> float:
        return statistics.median(self.ratios(peer))

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])

    @property
    def fastest(self) -> str | None:
        """The peer that needs the least."""
        return min(
            (name for name in self.times if name != "tinynet"), key=self.median, default=None
        )

    def share(self, name: str) -> float:
        """The share of the ceiling that a framework reaches in a step of W-W-W."""
        width, batch = self.row.shape[0], self.row.batch
        operations = 2 * batch * width * width * 5  # two forward, two dw and one dx
        return operations / self.median(name) / 1e9 / self.ceiling


@cache
def mnist() -> Any:
    train, _ = load_mnist()
    return train


def task_of(row: Row, share: float) -> Task:
    """The data of a row: MNIST, or normal numbers for layers and widths."""
    assert row.net is not None
    rng = np.random.default_rng(1)
    if row.kind == "layer":
        x = rng.standard_normal((row.batch, *row.shape)).astype(np.float32)
        dy = rng.standard_normal(row.net(x).shape).astype(np.float32)
        return Task("layer", row.net, x, dy, [slice(None)] * max(1, round(row.steps * share)))
    if np.prod(row.shape) == 784:
        x, y = mnist().images.reshape(-1, *row.shape), mnist().labels.astype(np.int64)
        if row.floats:
            x = x / np.float32(255)
    else:
        x = rng.standard_normal((20 * row.batch, *row.shape)).astype(np.float32)
        y = rng.integers(0, row.shape[0], len(x))
    count, whole = row.samples or len(x), row.kind != "step" or row.batch == len(x)
    steps = max(1, round((row.samples // row.batch or row.steps) * share))
    starts = [start % (count + 1 - row.batch) for start in range(0, steps * row.batch, row.batch)]
    order = rng.permutation(count)
    batches: list[Any] = [slice(s, s + row.batch) for s in starts]
    if not whole:
        batches = [order[rows] for rows in batches]
    rate = 0.001 if row.optimizer == "adam" else 0.01
    return Task(row.kind, row.net, x, y, batches, row.optimizer, rate)


def works(row: Row, share: float) -> tuple[dict[str, Work], int]:
    """For each framework that is installed and knows the row its turn; and the steps of a turn."""
    task = task_of(row, share)
    found: dict[str, Work] = {}
    for name in installed(row):
        if name == "loop":
            found["loop"], found["tinynet"] = found["tinynet"], build_trainer(task)
        elif work := importlib.import_module(f"with_{name}").build(task):
            found[name] = work
    return found, len(task.batches)


def installed(row: Row) -> list[str]:
    return [name for name in ("tinynet", *row.peers) if name == "loop" or find_spec(name)]


def measure(row: Row, settings: Settings) -> Result:
    """All turns of a row."""
    times: dict[str, list[float]]
    if row.kind == "script":
        times = {name: [] for name in installed(row)}
        for turn in range(settings.scripts):
            for name, taken in times.items():
                taken.append(compare_scripts.measure(row.name, name, turn))
        return Result(row, times, compare_scripts.difference(row.name, list(times)), 0.0)
    found, steps = works(row, settings.share)
    for work in found.values():
        work.turn()
    difference = agreement(row, {name: work.result() for name, work in found.items()})
    times = {name: [] for name in found}
    ceiling, names = 0.0, list(found)
    for turn in range(settings.turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(settings.pause)
            times[name].append(timed(found[name].turn) / steps)
        if row.name.startswith("width"):
            time.sleep(settings.pause)
            ceiling = max(ceiling, *(product_speed() for _ in range(5)))
    return Result(row, times, difference, ceiling)


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def product_speed(size: int = 512) -> float:
    """GFLOP/s of a product of two square matrices."""
    matrix = np.ones((size, size), np.float32)
    return 2 * size**3 / timed(lambda: matrix @ matrix) / 1e9


def agreement(row: Row, results: dict[str, list[Any]]) -> float:
    """The largest relative difference from tinynet's results; too large a one is an error."""
    worst = 0.0
    for name, result in results.items():
        pairs = [(results["tinynet"], result)]  # the losses of all steps of a turn
        if row.kind != "step":
            pairs = list(zip(results["tinynet"], result, strict=True))
        for own, other in pairs:
            scale = float(np.abs(own).max()) or 1.0
            worst = max(worst, float(np.abs(np.subtract(own, other)).max()) / scale)
        assert worst <= TOLERANCE, f"{row.name}: {name} differs from tinynet by {worst:.1e}"
    return worst


def table(group: str, results: Sequence[Result]) -> str:
    """A group of rows in Markdown."""
    peers = [name for name in NAMES if any(name in result.times for result in results)][1:]
    widths = any(result.ceiling for result in results)
    head = ["row", "tinynet", *(f"of {NAMES[peer]}" for peer in peers), "middle half"]
    head += ["share of the ceiling", "of it the fastest peer"] if widths else []
    lines = [f"### {group}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for result in results:
        cells = [result.row.name, amount(result)]
        cells += [f"{result.ratio(peer):.2f}" if peer in result.times else "" for peer in peers]
        cells.append(spread(result))
        if widths and result.fastest:
            cells += [f"{result.share(name):.0%}" for name in ("tinynet", result.fastest)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def amount(result: Result) -> str:
    """tinynet's own number: of a step, of a sample in an epoch, of a process."""
    value = result.median("tinynet")
    if "memory" in result.row.name:
        return f"{value:.0f} MB"
    if result.row.samples:
        return f"{value / result.row.batch * 1e6:.2f} µs a sample"
    unit, factor = next((u, f) for u, f in (("s", 1), ("ms", 1e3), ("µs", 1e6)) if value * f >= 1)
    return f"{value * factor:.3g} {unit}"


def spread(result: Result) -> str:
    """The middle half of the ratios to the fastest peer."""
    if result.fastest is None:
        return ""
    ratios = result.ratios(result.fastest)
    quarter = len(ratios) // 4
    return f"{ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}"


def draw(results: Sequence[Result], path: Path) -> None:
    """Each row as a bar from 1: left where tinynet is faster than its fastest peer."""
    from tinynet.plots.style import BLUE, GREY, VERMILION, new_figure

    shown = [result for result in results if result.fastest]
    ratios = [result.ratio(result.fastest or "") for result in shown]
    figure, axis = new_figure((8.0, 1.2 + 0.2 * len(shown)))
    colours = [BLUE if ratio <= 1 else VERMILION for ratio in ratios]
    axis.barh(range(len(shown)), np.log2(ratios), color=colours, height=0.6)
    axis.axvline(0, color=GREY)
    low, high = int(np.floor(np.log2(min(ratios)))), int(np.ceil(np.log2(max(ratios))))
    marks = range(min(low, -1), max(high, 1) + 1)
    axis.set_xticks(list(marks), [f"{2**mark}" if mark >= 0 else f"1/{2**-mark}" for mark in marks])
    axis.set_yticks(range(len(shown)), [result.row.name for result in shown], fontsize=7)
    axis.set_ylim(len(shown) - 0.5, -0.5)
    axis.set_xlabel("tinynet's time of that of the fastest peer (left of 1: tinynet is faster)")
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


def write_page(tables: Iterable[str]) -> None:
    """Puts the tables between the two marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([before + BEGIN, machine(), "", *tables]) + END + after, "utf-8")


def machine() -> str:
    found = [name for name in NAMES if name in ("torch", "jax", "sklearn") and find_spec(name)]
    versions = [f"{NAMES[n]} {importlib.import_module(f'with_{n}').VERSION}" for n in found]
    parts = [f"Python {platform.python_version()}", f"NumPy {np.__version__}", *versions]
    limits = [
        f"{n}={v}" for n, v in os.environ.items() if n.endswith("_NUM_THREADS") or n == "XLA_FLAGS"
    ]
    threads = f"threads limited by {', '.join(limits)}" if limits else "threads as each chooses"
    return f"{os.cpu_count()} cores, {', '.join(parts)}; {threads}."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare tinynet with other frameworks.")
    parser.add_argument(
        "--rows", default="", metavar="PATTERN", help="only rows whose group and name match this"
    )
    parser.add_argument("--quick", action="store_true", help="three short turns a row, no pauses")
    parser.add_argument("--turns", type=int, default=30, help="turns of a row (default 30)")
    options = parser.parse_args(arguments)
    settings = Settings(turns=options.turns)
    if options.quick:
        settings = Settings(turns=3, pause=0.0, share=0.1)
    groups: dict[str, list[Result]] = {}
    for group, rows in GROUPS.items():
        for row in rows:
            if not re.search(options.rows, f"{group}: {row.name}", re.IGNORECASE):
                continue
            result = measure(row, settings)
            groups.setdefault(group, []).append(result)
            of = (
                f"{result.ratio(result.fastest):.2f} of {NAMES[result.fastest]}"
                if result.fastest
                else "no peer"
            )
            print(
                f"{row.name}: {amount(result)}, {of}, {spread(result)}, aim {row.aim}, "
                f"results differ by {result.difference:.0e}",
                flush=True,
            )
    tables = [table(group, results) for group, results in groups.items()]
    print("", machine(), "", *tables, sep="\n")
    if not options.rows and not options.quick:
        write_page(tables)
        draw([result for results in groups.values() for result in results], PICTURE)


if __name__ == "__main__":
    main()
