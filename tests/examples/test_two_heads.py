import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import two_heads as example


def test_two_heads_trains_prints_a_row_for_each_task_and_writes_a_picture(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    first, _, both, species, mass, last = run(example, "--epochs", 20)
    assert first == "penguins.csv: 344 rows, 342 of them with body_mass_g"
    accuracy, error = map(float, re.findall(r"([\d.]+)(?:%| g)", both))
    assert accuracy > 93
    assert error < 450  # grams; the mean of all penguins has 800
    assert re.fullmatch(r"species alone +[\d.]+% +-", species)
    assert re.fullmatch(r"mass alone +- +\d+ g", mass)
    path = tmp_path / "out" / "two_heads.png"
    assert last == f"wrote {path}"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_a_marker_for_each_species_and_mistakes_in_another_colour() -> None:
    lengths, species, mass = np.ones((3, 3)), np.array([0, 1, 1]), np.array([3.0, 4.0, 5.0])
    figure = example.draw(lengths, species, mass, (np.eye(3)[[0, 1, 2]], mass[:, np.newaxis]))
    left, right = figure.axes
    colours = [np.asarray(points.get_facecolor())[0].tolist() for points in left.collections]
    assert colours[0] == colours[1] != colours[2]
    assert [len(np.asarray(points.get_offsets())) for points in right.collections] == [1, 1, 1]
    plt.close(figure)
