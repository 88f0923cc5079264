"""What `import tinynet` needs and exports, and how the package is built inside."""

import ast
import builtins
import inspect
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest

import tinynet
from tinynet import errors

ROOT = Path(tinynet.__file__).parent
SOURCES = {
    path.relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", "."): path
    for path in sorted(ROOT.rglob("*.py"))
}
SOURCES = {name.removesuffix(".__init__"): path for name, path in SOURCES.items()}

# From the bottom: a module or folder imports from its own folder and from lower floors alone.
FLOORS = (
    ("errors", "html", "mode"),
    ("validation",),
    ("parameter",),
    ("saving", "signature", "samples"),
    ("keywords", "recording", "precision"),
    ("summary",),
    ("layer",),
    ("functional", "initializers"),
    ("layers", "losses"),
    ("monitor", "datasets", "metrics"),
    ("optimizers",),
    ("training",),
    ("gradcheck", "profiling"),
    ("health",),
    ("callbacks", "plots", "testing"),
    ("tinynet",),
)


@cache
def trees() -> dict[str, ast.Module]:
    """The parsed modules of the package."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


@cache
def imports() -> dict[str, set[str]]:
    """For each module of the package the other modules that it imports."""
    return {module: imports_of(tree) - {module} for module, tree in trees().items()}


def imports_of(tree: ast.Module) -> set[str]:
    """The modules of the package that a module imports, also inside functions, but for types."""
    found = set()
    for node in _runtime_nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the package has no relative imports"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.partition(".")[0] == "tinynet":
                while name not in SOURCES:  # a class or function of a module
                    name = name.rpartition(".")[0]
                found.add(name)
    return found


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            if child in node.orelse:
                yield from _runtime_nodes(child)
        else:
            yield from _runtime_nodes(child)


def folder(module: str) -> str:
    """The folder of a module, or the module itself where it stands at the top of the package."""
    return module.split(".")[1] if "." in module else module


def test_no_import_of_the_package_points_to_the_same_or_a_higher_floor() -> None:
    floors = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    assert {folder(module) for module in SOURCES} == set(floors)
    upward = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if folder(other) != folder(module) and floors[folder(other)] >= floors[folder(module)]
    ]
    assert upward == []


def test_no_module_of_the_package_imports_itself_through_others() -> None:
    order = list(TopologicalSorter(imports()).static_order())  # raises CycleError for a circle
    assert len(order) == len(SOURCES)
    assert "tinynet.layer" in imports()["tinynet.layers.dense"]


def test_lazy_imports_count_as_imports_and_those_for_type_checking_do_not() -> None:
    text = """
from typing import TYPE_CHECKING
import numpy as np
if TYPE_CHECKING:
    from tinynet.layer import Layer
else:
    import tinynet.errors
def run():
    from tinynet.training.trainer import Trainer
    from tinynet.saving import state
"""
    expected = {"tinynet.errors", "tinynet.training.trainer", "tinynet.saving.state"}
    assert imports_of(ast.parse(text)) == expected


def test_no_file_of_the_package_has_more_than_400_lines() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_no_public_docstring_has_more_than_20_lines() -> None:
    lines = {
        f"{module}.{node.name}": len((ast.get_docstring(node) or "").splitlines())
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }
    assert {name: count for name, count in lines.items() if count > 20} == {}


@pytest.mark.parametrize(("name", "most"), [("layers", 18), ("gradcheck", 10)])
def test_folders_of_the_package_hold_few_files(name: str, most: int) -> None:
    files = [path for path in (ROOT / name).iterdir() if path.suffix == ".py"]
    assert 1 < len(files) <= most + 1  # and __init__


def test_every_exception_of_the_package_is_defined_in_errors_and_exported_by_tinynet() -> None:
    exceptions = {
        name
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, BaseException) and cls.__module__ == errors.__name__
    }
    assert len(exceptions) >= 7
    for name in exceptions:
        assert name in tinynet.__all__
        assert getattr(tinynet, name) is getattr(errors, name)
    built_in = {
        name
        for name, cls in inspect.getmembers(builtins, inspect.isclass)
        if issubclass(cls, BaseException)
    }
    elsewhere = [
        f"{module}.{node.name}"
        for module, tree in trees().items()
        if module != errors.__name__
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base).rpartition(".")[2] for base in node.bases} & (exceptions | built_in)
    ]
    assert elsewhere == []


def test_import_training_and_gradient_checks_need_numpy_alone() -> None:
    extras = ("pandas", "matplotlib", "tqdm", "hypothesis", "pytest", "scipy")
    modules = (
        "{n.partition('.')[0] for n, m in sys.modules.items() if getattr(m, '__spec__', None)}"
    )
    code = (
        f"import sys; before = {modules};"
        "import tinynet;"
        f"print(*{modules} - before - set(sys.stdlib_module_names));"
        "assert tinynet.datasets.load_mnist;"
        f"sys.modules.update(dict.fromkeys({extras}));"  # None stands for what is not installed
        "import numpy as np; from tinynet import *;"
        "train, test = datasets.load_mnist();"
        "model = Sequential([Flatten(), Rescale(1 / 255), Dense(784, 10, rng=0)]);"
        "loss, sgd = SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1);"
        "print(loss(model(train.images[:64]), train.labels[:64]) > 1);"
        "model.backward(loss.backward()); sgd.step();"
        "print(len(check_gradients(Dense(2, 3), np.eye(2))))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, *results = run.stdout.splitlines()
    assert set(loaded.split()) == {"numpy", "tinynet"}
    assert results == ["True", "3"]


def test_every_public_name_can_be_imported() -> None:
    assert all(hasattr(tinynet, name) for name in tinynet.__all__)
    assert tinynet.__version__ == version("tinynet-numpy")


def test_a_name_that_the_package_does_not_have_is_no_attribute() -> None:
    assert hasattr(tinynet, "Trainer")
    assert not hasattr(tinynet, "Trainers")
