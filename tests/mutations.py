"""Mutation testing of array code, with mutations that mutmut lacks: python tests/mutations.py

A mutant changes one expression of a layer, loss or optimizer in a copy of the project: it drops a
`.T`, swaps the operands of `@`, takes another axis, `=` for `+=` or a mean for a sum, or leaves out
a copy. A mutant survives if the tests pass with it. docs/mutation_testing.md has the last result.
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

CONTRACT = "tests/test_contract.py"

# The files to mutate, each with the tests that have to fail, the fastest first.
TESTS = {
    "tinynet/functional.py": ["tests/test_functional.py", CONTRACT],
    "tinynet/layers/dense.py": ["tests/layers/test_dense.py", CONTRACT],
    "tinynet/layers/activation.py": ["tests/layers/test_activation.py", CONTRACT],
    "tinynet/layers/softmax.py": ["tests/layers/test_softmax.py", CONTRACT],
    "tinynet/layers/dropout.py": ["tests/layers/test_dropout.py", CONTRACT],
    "tinynet/layers/reshape.py": ["tests/layers/test_reshape.py", CONTRACT],
    "tinynet/layers/sequential.py": ["tests/layers/test_sequential.py", CONTRACT],
    "tinynet/layers/branches.py": ["tests/layers/test_branches.py", CONTRACT],
    "tinynet/layers/conv2d.py": [
        "tests/layers/test_conv2d.py",
        "tests/layers/test_convolution.py",
        "tests/layers/test_transposed.py",
        CONTRACT,
    ],
    "tinynet/layers/convolution.py": [
        "tests/layers/test_convolution.py",
        "tests/layers/test_transposed.py",
        CONTRACT,
    ],
    "tinynet/layers/pooling.py": [
        "tests/layers/test_shifted_slices.py",
        "tests/layers/test_pooling.py",
        "tests/layers/test_upsampling.py",
        CONTRACT,
    ],
    "tinynet/layers/normalization.py": [
        "tests/layers/test_normalization.py",
        "tests/layers/test_batch_norm.py",
        CONTRACT,
    ],
    "tinynet/layers/attention.py": [
        "tests/layers/test_attention.py",
        "tests/layers/test_attention_settings.py",
        CONTRACT,
    ],
    "tinynet/layers/transformer.py": ["tests/layers/test_transformer.py", CONTRACT],
    "tinynet/layers/embedding.py": ["tests/layers/test_embedding.py", CONTRACT],
    "tinynet/layers/recurrent.py": [
        "tests/layers/test_recurrent.py",
        "tests/layers/test_recurrent_state.py",
        "tests/layers/test_recurrent_padding.py",
        CONTRACT,
    ],
    "tinynet/layers/rnn.py": ["tests/layers/test_recurrent.py", CONTRACT],
    "tinynet/layers/bidirectional.py": ["tests/layers/test_bidirectional.py", CONTRACT],
    "tinynet/layers/masking.py": [
        "tests/layers/test_masking.py",
        "tests/layers/test_sequence_pooling.py",
        "tests/layers/test_recurrent_padding.py",
        CONTRACT,
    ],
    "tinynet/losses/cross_entropy.py": ["tests/losses/test_cross_entropy.py", CONTRACT],
    "tinynet/losses/binary.py": ["tests/losses/test_binary.py", CONTRACT],
    "tinynet/losses/divergence.py": ["tests/losses/test_divergence.py", CONTRACT],
    "tinynet/losses/margin.py": ["tests/losses/test_margin.py", CONTRACT],
    "tinynet/losses/regression.py": ["tests/losses/test_regression.py", CONTRACT],
    "tinynet/losses/targets.py": ["tests/losses"],
    "tinynet/optimizers/optimizer.py": ["tests/optimizers/test_optimizer.py"],
    "tinynet/optimizers/sgd.py": ["tests/optimizers/test_sgd.py"],
    "tinynet/optimizers/adaptive.py": ["tests/optimizers/test_adaptive.py"],
}


def changed(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The mutations of this node, each with a name."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "drop .T", node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield "swap the operands of @", ast.BinOp(node.right, ast.MatMult(), node.left)
    if isinstance(node, ast.AugAssign):
        yield "= for an assignment with an operator", ast.Assign([node.target], node.value)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript):
        yield "+= for =", ast.AugAssign(node.targets[0], ast.Add(), node.value)
    if isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg == "axis" and isinstance(keyword.value, ast.Constant):
                other = deepcopy(node)
                other.keywords[index].value = ast.Constant(1 if keyword.value.value == 0 else 0)
                yield "another axis", other
                without = deepcopy(node)
                del without.keywords[index]
                yield "no axis", without
            elif isinstance(keyword.value, ast.UnaryOp) and keyword.arg == "axis":
                other = deepcopy(node)
                other.keywords[index].value = ast.Constant(0)
                yield "another axis", other
            elif keyword.arg == "keepdims":
                other = deepcopy(node)
                del other.keywords[index]
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
    """Replaces one node of a tree."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """The new node for the old one."""
        return self.new if node is self.old else super().generic_visit(node)


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, name of the mutation, the whole source with it) for each mutant."""
    for index, original in enumerate(ast.walk(ast.parse(source))):
        for variant, _ in enumerate(changed(original)):
            tree = ast.parse(source)  # a new one, for the mutation is in place
            node = list(ast.walk(tree))[index]
            name, new = list(changed(node))[variant]
            line = getattr(node, "lineno", 0)
            mutated = ast.fix_missing_locations(Replace(node, new).visit(tree))
            yield line, name, ast.unparse(mutated)


def survives(copy: Path, file: str, source: str, tests: list[str]) -> bool:
    """Whether the tests pass with this source in place of that of the file."""
    original = (copy / file).read_text(encoding="utf-8")
    (copy / file).write_text(source, encoding="utf-8")
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
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
    parser.add_argument("--count", action="store_true", help="only count the mutants of each file")
    arguments = parser.parse_args()
    files = arguments.files
    for path in (ROOT / test for file in files for test in (file, *TESTS[file])):
        if not path.exists():
            raise SystemExit(f"{path} expected, found nothing: see TESTS")
    if arguments.count:
        for file in files:
            source = (ROOT / file).read_text(encoding="utf-8")
            print(f"{sum(1 for _ in mutants(source)):4} {file}")
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for name in ("tinynet", "tests", "pyproject.toml"):
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
