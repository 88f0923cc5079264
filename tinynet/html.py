"""Tables in HTML, which a notebook shows in place of the text of an object."""

from collections.abc import Sequence
from html import escape

HEAD, TAIL = 10, 10  # rows of a long table


def html_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a caption; of more than 20 rows the first and the last ten.

    >>> print(html_table("A & B", ["n"], [["1"]]))
    <table><caption>A &amp; B</caption>
    <tr><th>n</th></tr>
    <tr><td style="text-align: left">1</td></tr>
    </table>
    """
    if len(rows) > HEAD + TAIL:
        rows = [*rows[:HEAD], ["⋮"] * len(head), *rows[-TAIL:]]
    lines = [f"<table><caption>{escape(caption)}</caption>", _row("th", head)]
    return "\n".join([*lines, *(_row('td style="text-align: left"', row) for row in rows)]) + (
        "\n</table>"
    )


def _row(tag: str, cells: Sequence[str]) -> str:
    name = tag.split()[0]
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{name}>' for cell in cells)}</tr>"
