"""docs/README.md lists every public name with its signature."""

import importlib
import inspect

import pytest
from public_names import INDEX, MODULES, listing, names


def test_the_index_lists_all_public_names_with_their_signatures() -> None:
    text = INDEX.read_text(encoding="utf-8")
    assert text.endswith(listing()), "run python tests/public_names.py"


@pytest.mark.parametrize("path", MODULES)
def test_help_shows_the_names_of_types_and_not_what_they_stand_for(path: str) -> None:
    module = importlib.import_module(path)
    for name in names(module):
        value = getattr(module, name)
        is_class = inspect.isclass(value) and not issubclass(value, Exception)
        if is_class or inspect.isfunction(value):
            assert "numpy._typing" not in f"{inspect.signature(value)}", name
