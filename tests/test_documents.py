"""README and docs print what their code prints, and name the commands that CI runs."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import datasets

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```\n+(?:^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+")
ROUNDING = re.compile(r"± \S+")  # how far rounding may have moved a number, on this machine

EXAMPLES = [
    pytest.param(code, printed, id=f"{page.relative_to(ROOT).as_posix()} {index}")
    for page in PAGES
    for index, (code, printed) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
]


@pytest.fixture(scope="module")
def _mnist_is_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load_mnist", cache(datasets.load_mnist))
        yield


@pytest.mark.usefixtures("_mnist_is_read_once")
@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_the_code_of_a_page_prints_the_output_below_it(
    code: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed
    exec(compile(code, "the page", "exec"), {"__name__": "page"})
    shown, printed = (ROUNDING.sub("± #", text) for text in (capsys.readouterr().out, printed))
    # Words to the letter; numbers to what another processor may change.
    assert NUMBER.sub("#", shown) == NUMBER.sub("#", printed)
    got, expected = ([float(n) for n in NUMBER.findall(text)] for text in (shown, printed))
    np.testing.assert_allclose(got, expected, rtol=0.01)


@pytest.mark.usefixtures("_mnist_is_read_once")
def test_the_numpy_script_and_tinynet_have_the_same_accuracies_and_weights() -> None:
    text = (ROOT / "docs" / "your_numpy_script.md").read_text(encoding="utf-8")
    code = FENCE.findall(text)[0][0].partition("\ntrain, _")[0]
    page: dict[str, Any] = {}
    exec(compile(code, "the page", "exec"), page)
    _, (images, labels) = datasets.load_mnist()
    x, labels = images[:500].reshape(500, 784) / 255, labels[:500]
    rng = np.random.default_rng(1)
    start = [rng.random(shape) - 0.5 for shape in ((10, 784), (10, 1), (10, 10), (10, 1))]
    accuracies, weights = page["run_script"](x.T, labels, *start, rate=0.1, iterations=91)
    others, model = page["run_tinynet"](x, labels, *start, rate=0.1, iterations=91)
    assert accuracies == others
    assert len(accuracies) == 10
    assert accuracies[-1] > accuracies[0] + 0.3
    for value, parameter in zip(weights, model.parameters(), strict=True):
        expected = value.T.reshape(parameter.value.shape)
        np.testing.assert_allclose(parameter.value, expected, rtol=0, atol=1e-12)


def test_readme_and_docs_have_examples_that_run() -> None:
    assert len(EXAMPLES) >= 4


def test_ci_runs_the_commands_that_readme_prints() -> None:
    readme, ci = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".ci/run"))
    (commands,) = re.findall(r"^```bash\n(.*?)\n```$", readme, re.MULTILINE | re.DOTALL)
    first, second = commands.splitlines()
    assert first == 'pip install -e ".[examples]" && python examples/mnist_two_layer.py'
    assert second == 'pip install -e ".[dev]" && pytest'
    for command in (
        '-e ".[dev]"',
        "pytest",
        "python examples/mnist_two_layer.py",
        "ruff check",
        "mypy",
    ):
        assert command in ci


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_docs_name_every_option_of_the_two_layer_example() -> None:
    sources = [ROOT / "examples" / name for name in ("mnist_two_layer.py", "command_line.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    options = set(re.findall(r'"(--[a-z-]+)"', text))
    assert len(options) == 9
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert options <= set(re.findall(r"--[a-z-]+", page))
