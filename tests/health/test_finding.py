from dataclasses import FrozenInstanceError
from xml.etree import ElementTree as html  # noqa: N813  # an HTML table is read as XML

import pytest

from tinynet.health import Finding, Findings

SCALE = Finding("input range", "Values reach 255.", "Scale them.")
START = Finding("start loss", "The loss starts at 190.", "Start smaller.")


def test_a_finding_reads_as_its_name_evidence_and_advice() -> None:
    assert str(SCALE) == "input range: Values reach 255. Scale them."
    assert Finding("input range", "Values reach 255.", "Scale them.") == SCALE
    assert SCALE != START


def test_a_finding_stays_what_it_is() -> None:
    with pytest.raises(FrozenInstanceError):
        SCALE.name = "other"  # type: ignore[misc]


def test_findings_are_a_sequence_in_their_order() -> None:
    findings = Findings([SCALE, START])
    assert list(findings) == [SCALE, START]
    assert len(findings) == 2
    assert findings[0] is SCALE
    assert findings[-1] is START


def test_findings_show_and_print_as_a_numbered_list() -> None:
    findings = Findings([SCALE, START])
    assert repr(findings) == str(findings) == f"1. {SCALE}\n2. {START}"


def test_a_notebook_shows_findings_as_a_table() -> None:
    table = html.fromstring(Findings([SCALE, START])._repr_html_())
    assert [[cell.text for cell in row] for row in table.iter("tr")] == [
        [None, "finding", "evidence", "advice"],
        ["1", "input range", "Values reach 255.", "Scale them."],
        ["2", "start loss", "The loss starts at 190.", "Start smaller."],
    ]


def test_no_findings_are_falsy_and_say_so() -> None:
    assert not Findings([])
    assert str(Findings([])) == repr(Findings([])) == "nothing found"
    assert "<caption>nothing found</caption>" in Findings([])._repr_html_()
