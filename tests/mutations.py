"""Mutants that mutmut does not make, for code with arrays: python tests/mutations.py

Each changes one place of the layers, losses and optimizers in a copy of the project: a `.T`
dropped, the operands of `@` swapped, another axis, `=` for `+=` and back, a sum for a mean, a copy
left out. A mutant that the tests let through survives; docs/mutation_testing.md has the last
result.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What to change, and the tests that are to notice; those of the file itself first.
TESTS = {
    "tinynet/layers/dense.py": ["tests/layers/test_dense.py", "tests/test_contract.py"],
    "tinynet/layers/activation.py": ["tests/layers/test_rectifier.py", "tests/test_contract.py"],
    "tinynet/layers/activation.py": ["tests/layers/test_activation.py", "tests/test_contract.py"],
    "tinynet/functional.py": ["tests/layers/test_normal.py"],
    "tinynet/layers/softmax.py": ["tests/layers/test_softmax.py", "tests/test_contract.py"],
    "tinynet/layers/dropout.py": ["tests/layers/test_dropout.py", "tests/test_contract.py"],
    "tinynet/layers/reshape.py": ["tests/layers/test_reshape.py", "tests/test_contract.py"],
    "tinynet/layers/sequential.py": ["tests/layers/test_sequential.py", "tests/test_contract.py"],
    "tinynet/layers/conv2d.py": ["tests/layers/test_window.py"],
    "tinynet/layers/pooling.py": [
        "tests/layers/test_taps.py",
        "tests/layers/test_pooling.py",
        "tests/layers/test_upsampling.py",
    ],
    "tinynet/layers/pooling.py": ["tests/layers/test_pooling.py", "tests/test_contract.py"],
    "tinynet/layers/pooling.py": ["tests/layers/test_upsampling.py", "tests/test_contract.py"],
    "tinynet/functional.py": ["tests/layers/test_standardize.py", "tests/test_contract.py"],
    "tinynet/layers/normalization.py": [
        "tests/layers/test_batch_norm.py",
        "tests/test_contract.py",
    ],
    "tinynet/layers/normalization.py": [
        "tests/layers/test_normalization.py",
        "tests/test_contract.py",
    ],
    "tinynet/layers/attention.py": ["tests/layers/test_attention.py", "tests/test_contract.py"],
    "tinynet/layers/transformer.py": ["tests/layers/test_transformer.py", "tests/test_contract.py"],
    "tinynet/layers/conv2d.py": [
        "tests/layers/test_convolution.py",
        "tests/layers/test_transposed.py",
        "tests/layers/test_correlation.py",
        "tests/test_contract.py",
    ],
    "tinynet/layers/convolution.py": ["tests/layers/test_convolution.py", "tests/test_contract.py"],
    "tinynet/layers/convolution.py": ["tests/layers/test_transposed.py", "tests/test_contract.py"],
    "tinynet/layers/embedding.py": ["tests/layers/test_embedding.py", "tests/test_contract.py"],
    "tinynet/layers/recurrent.py": ["tests/layers/test_recurrent.py", "tests/test_contract.py"],
    "tinynet/layers/rnn.py": ["tests/layers/test_recurrent.py", "tests/test_contract.py"],
    "tinynet/layers/gru.py": ["tests/layers/test_recurrent.py", "tests/test_contract.py"],
    "tinynet/layers/lstm.py": ["tests/layers/test_recurrent.py", "tests/test_contract.py"],
    "tinynet/losses/cross_entropy.py": [
        "tests/losses/test_cross_entropy.py",
        "tests/test_contract.py",
    ],
    "tinynet/losses/binary.py": ["tests/losses/test_binary.py", "tests/test_contract.py"],
    "tinynet/losses/divergence.py": ["tests/losses/test_divergence.py", "tests/test_contract.py"],
    "tinynet/losses/margin.py": ["tests/losses/test_margin.py", "tests/test_contract.py"],
    "tinynet/losses/regression.py": ["tests/losses/test_regression.py", "tests/test_contract.py"],
    "tinynet/losses/targets.py": ["tests/losses"],
    "tinynet/losses/targets.py": ["tests/losses"],
    "tinynet/optimizers/optimizer.py": ["tests/optimizers/test_optimizer.py"],
    "tinynet/optimizers/sgd.py": ["tests/optimizers/test_sgd.py"],
    "tinynet/optimizers/adaptive.py": ["tests/optimizers/test_adaptive.py"],
}


def changed(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What could stand in the place of this node, each with a name."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "drop .T", node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield "swap the operands of @", ast.BinOp(node.right, ast.MatMult(), node.left)
    if isinstance(node, ast.AugAssign):
        yield "= for an assignment with an operator", ast.Assign([node.target], node.value)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript):
        yield "+= for =", ast.AugAssign(node.targets[0], ast.Add(), node.value)
    if isinstance(node, ast.Call):
        for place, keyword in enumerate(node.keywords):
            if keyword.arg == "axis" and isinstance(keyword.value, ast.Constant):
                other = deepcopy(node)
                other.keywords[place].value = ast.Constant(1 if keyword.value.value == 0 else 0)
                yield "another axis", other
                without = deepcopy(node)
                del without.keywords[place]
                yield "no axis", without
            elif isinstance(keyword.value, ast.UnaryOp) and keyword.arg == "axis":
                other = deepcopy(node)
                other.keywords[place].value = ast.Constant(0)
                yield "another axis", other
            elif keyword.arg == "keepdims":
                other = deepcopy(node)
                del other.keywords[place]
                yield "no keepdims", other
        if isinstance(node.func, ast.Attribute):
            if node.func.attr == "copy" and not node.args:
                yield "leave out a copy", node.func.value
            if node.func.attr == "sum":
                other = deepcopy(node)
                assert isinstance(other.func, ast.Attribute)
                other.func.attr = "mean"
                yield "mean for sum", other


class Replace(ast.NodeTransformer):
    """Replaces the one node that stands at a place of the walk."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """The new node for the old one."""
        return self.new if node is self.old else super().generic_visit(node)


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, what is changed there, the whole source with it)."""
    count = sum(1 for _ in ast.walk(ast.parse(source)))
    for place in range(count):
        variants = len(list(changed(list(ast.walk(ast.parse(source)))[place])))
        for variant in range(variants):
            tree = ast.parse(source)
            node = list(ast.walk(tree))[place]
            name, new = list(changed(node))[variant]
            line = getattr(node, "lineno", 0)
            mutated = ast.fix_missing_locations(Replace(node, new).visit(tree))
            yield line, name, ast.unparse(mutated)


def survives(copy: Path, file: str, source: str, tests: list[str]) -> bool:
    """Whether the tests pass with this source in the place of the file."""
    original = (copy / file).read_text(encoding="utf-8")
    (copy / file).write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy), "CI": "true"}
    try:
        run = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    else:
        return run.returncode == 0
    finally:
        (copy / file).write_text(original, encoding="utf-8")


def main() -> None:
    """Prints each survivor, and how many there were of how many mutants."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=list(TESTS), help="which of the files (all)")
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        wanted = ("tinynet", "tests", "pyproject.toml")
        copy.mkdir()
        for name in wanted:
            path = ROOT / name
            (shutil.copytree if path.is_dir() else shutil.copy)(path, copy / name)
        killed = total = 0
        for file in files:
            source = (ROOT / file).read_text(encoding="utf-8")
            tests = TESTS[file]
            if not survives(copy, file, source, tests):
                raise SystemExit(f"{file}: its tests fail as it is")
            for line, name, mutated in mutants(source):
                total += 1
                if survives(copy, file, mutated, tests):
                    print(f"survived  {file}:{line}  {name}", flush=True)
                else:
                    killed += 1
            print(f"{file}: {killed} of {total} killed so far", flush=True)
    print(f"killed {killed} of {total} mutants")


if __name__ == "__main__":
    main()
