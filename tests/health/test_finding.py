from dataclasses import FrozenInstanceError

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


def test_findings_print_as_a_numbered_list() -> None:
    assert str(Findings([SCALE, START])) == f"1. {SCALE}\n2. {START}"
    assert repr(Findings([SCALE, START])) == "Findings(input range, start loss)"


def test_no_findings_are_falsy_and_say_so() -> None:
    assert not Findings([])
    assert str(Findings([])) == "nothing found"
    assert repr(Findings([])) == "Findings()"
