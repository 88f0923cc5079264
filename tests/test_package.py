"""What a user's first import meets."""

import inspect
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import tinynet
from tinynet import SGD, Dense, ReLU, Sequential, SoftmaxCrossEntropy


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout


def test_import_needs_numpy_alone() -> None:
    modules = "*{name.partition('.')[0] for name in sys.modules}"
    before, after = python(
        f"import sys; print({modules}); import tinynet; print({modules})"
    ).splitlines()
    loaded = set(after.split()) - set(before.split()) - set(sys.stdlib_module_names)
    assert (loaded - {"tinynet"}) & set(packages_distributions()) == {"numpy"}


def test_training_and_checking_work_where_no_extra_is_installed() -> None:
    extras = ("pandas", "matplotlib", "tqdm", "hypothesis", "pytest", "scipy")
    blocked = "".join(f"sys.modules[{name!r}] = None;" for name in extras)
    out = python(
        f"import sys; {blocked}"
        "import numpy as np; from tinynet import *;"
        "train, test = datasets.load_mnist();"
        "model = Sequential([Flatten(), Rescale(1 / 255), Dense(784, 10, rng=0)]);"
        "loss, sgd = SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1);"
        "print(loss(model(train.images[:64]), train.labels[:64]) > 1);"
        "model.backward(loss.backward()); sgd.step();"
        "print(len(check_gradients(Dense(2, 3), np.eye(2))))"
    )
    assert out.split() == ["True", "3"]


def test_the_core_stays_small() -> None:
    # What a beginner reads first, docstrings included.
    core = (Dense, ReLU, SoftmaxCrossEntropy, Sequential, SGD)
    assert sum(len(inspect.getsource(kind).splitlines()) for kind in core) <= 400
    root = Path(tinynet.__file__).parent
    files = [*(root / "layers").glob("*.py"), *(root / "losses").glob("*.py")]
    assert len(files) > 20
    for path in files:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path.name


def test_every_public_name_can_be_imported() -> None:
    assert all(hasattr(tinynet, name) for name in tinynet.__all__)
    assert tinynet.__version__ == version("tinynet-numpy")
