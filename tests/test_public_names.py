"""docs/README.md lists every public name with its signature."""

from public_names import INDEX, listing


def test_the_index_lists_all_public_names_with_their_signatures() -> None:
    text = INDEX.read_text(encoding="utf-8")
    assert text.endswith(listing()), "run python tests/public_names.py"
