from xml.etree import ElementTree as html  # noqa: N813  # an HTML table is read as XML

from tinynet.gradcheck import Report, TensorReport


def report() -> Report:
    tensors = {
        "x": TensorReport((2, 3), 6, 6, worst=2e-11, kinks=1),
        "weight": TensorReport((3, 4000), 12_000, 200, 8, worst=0.0, uninformative=3),
    }
    return Report("Net()", 7, tensors, ["forward is repeatable", "any memory layout of x"])


def test_a_report_shows_and_prints_as_a_table() -> None:
    assert repr(report()) == str(report())
    assert repr(report()).splitlines() == [
        "Net(): nothing wrong found, but 3 entries could not be judged",
        "  gradient of  shape            entries  directions  worst  kinks  uninformative",
        "  x            (2, 3)            6 of 6           0  2e-11      1              0",
        "  weight       (3, 4000)  200 of 12,000           8      0      0              3",
        "  also checked: forward is repeatable, any memory layout of x; rng=7",
    ]


def test_a_notebook_shows_a_report_as_a_table() -> None:
    table, also = report()._repr_html_().split("</table>")
    rows = [[cell.text for cell in row] for row in html.fromstring(f"{table}</table>").iter("tr")]
    assert rows[0] == [
        "gradient of", "shape", "entries", "directions", "worst", "kinks", "uninformative"
    ]  # fmt: skip
    assert rows[1:] == [
        ["x", "(2, 3)", "6 of 6", "0", "2e-11", "1", "0"],
        ["weight", "(3, 4000)", "200 of 12,000", "8", "0", "0", "3"],
    ]
    assert also == "\nalso checked: forward is repeatable, any memory layout of x; rng=7"


def test_a_report_says_right_if_all_entries_could_be_judged() -> None:
    whole = report()
    whole.tensors["weight"].uninformative = 0
    assert str(whole).startswith("Net(): right\n")


def test_a_report_gives_the_tensors_by_name_and_their_informative_share() -> None:
    whole = report()
    assert list(whole) == ["x", "weight"]
    assert len(whole) == 2
    assert whole["x"].kinks == 1
    assert whole.informative == 1 - 3 / 206
