"""Findings: faults that a health check found, each with its evidence and an advice."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from tinynet.html import html_table


@final
@dataclass(frozen=True)
class Finding:
    """`name` is one of a few fixed texts; `evidence` and `advice` are sentences."""

    name: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence} {self.advice}"


@final
class Findings:
    """Findings in the order of cause and effect: correct the first one first.

    >>> findings = Findings([Finding("input range", "Values reach 255.", "Scale them.")])
    >>> findings
    1. input range: Values reach 255. Scale them.
    >>> len(findings), findings[0].name
    (1, 'input range')
    """

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = tuple(findings)

    def __getitem__(self, index: int) -> Finding:
        return self._findings[index]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings)

    def __len__(self) -> int:
        return len(self._findings)

    def __repr__(self) -> str:
        lines = [f"{number}. {finding}" for number, finding in enumerate(self, 1)]
        return "\n".join(lines) or "nothing found"

    def _repr_html_(self) -> str:
        rows = [[f"{n}", f.name, f.evidence, f.advice] for n, f in enumerate(self, 1)]
        caption = "correct the first one first" if rows else "nothing found"
        return html_table(caption, ["", "finding", "evidence", "advice"], rows)
