"""The public names of the package with their signatures: python tests/public_names.py

Writes the list into docs/README.md, where tests/test_public_names.py expects it.
"""

import importlib
import inspect
from enum import EnumType
from pathlib import Path
from typing import Any

INDEX = Path(__file__).parents[1] / "docs" / "README.md"
MODULES = (
    "tinynet",
    "tinynet.callbacks",
    "tinynet.datasets",
    "tinynet.functional",
    "tinynet.gradcheck",
    "tinynet.health",
    "tinynet.initializers",
    "tinynet.monitor",
    "tinynet.optimizers",
    "tinynet.optimizers.schedules",
    "tinynet.plots",
    "tinynet.testing",
)


def names(module: Any) -> list[str]:
    """Those that a module exports, or that it defines itself."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    own = (name for name, value in vars(module).items() if _is_own(module, value))
    return sorted(name for name in own if not name.startswith("_"))


def listing() -> str:
    """A section for each module; a name stands where it is met first."""
    lines: list[str] = []
    seen: set[int] = set()
    for path in MODULES:
        module = importlib.import_module(path)
        new = [name for name in names(module) if id(getattr(module, name)) not in seen]
        seen |= {id(getattr(module, name)) for name in new}
        shown = [signature(name, getattr(module, name)) for name in new]
        lines += [f"### {path}", "", "```text", *shown, "```", ""]
    return "\n".join(lines)


def signature(name: str, value: Any) -> str:
    """A name with its arguments and their defaults, without types."""
    if isinstance(value, EnumType):
        return name
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # a module, or an exception without a constructor of its own
        return name
    bare = [p.replace(annotation=p.empty, default=_default(p.default)) for p in parameters]
    return f"{name}{inspect.Signature(bare)}"


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> Any:
    name = getattr(value, "__name__", None)
    return value if value is inspect.Parameter.empty or name is None else _Text(name)


def _is_own(module: Any, value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module.__name__


def main() -> None:
    head = INDEX.read_text(encoding="utf-8").partition("### tinynet\n")[0]
    INDEX.write_text(head + listing(), encoding="utf-8")


if __name__ == "__main__":
    main()
