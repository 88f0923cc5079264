"""README and docs print what their code prints, and name the commands that CI runs."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```\n+(?:^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+")
ROUNDING = re.compile(r"± \S+")  # how far rounding may have moved a number, on this machine

EXAMPLES = [
    pytest.param(code, printed, id=f"{page.name} {place}")
    for page in PAGES
    for place, (code, printed) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_code_prints_what_stands_below_it(
    code: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed
    exec(compile(code, "the page", "exec"), {"__name__": "page"})
    shown, printed = (ROUNDING.sub("± #", text) for text in (capsys.readouterr().out, printed))
    # Words to the letter; numbers to what another processor may change.
    assert NUMBER.sub("#", shown) == NUMBER.sub("#", printed)
    got, wanted = ([float(n) for n in NUMBER.findall(text)] for text in (shown, printed))
    np.testing.assert_allclose(got, wanted, rtol=0.01)


def test_the_pages_have_code_to_run() -> None:
    assert len(EXAMPLES) >= 4


def test_ci_runs_the_commands_that_readme_prints() -> None:
    readme, ci = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".ci/run"))
    first, second = re.findall(r"^```bash\n(.*)\n```$", readme, re.MULTILINE)
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_readme_names_every_option_of_the_example() -> None:
    example = (ROOT / "examples" / "mnist_two_layer.py").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    options = set(re.findall(r'"(--[a-z-]+)"', example))
    assert len(options) == 10
    assert all(option in readme for option in options)
