"""Tables between marks: only what stands between them changes, and a page without marks stays as it is."""

import pytest

from experiments import pages


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "__file__", str(tmp_path / "pages.py"))
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine/README.md"


def test_what_stands_around_a_table_stays(page):
    old, new = (pages.marked("mine", "rows", pages.markdown(("a", "b"), [("x", n)])) for n in ("1", "2"))
    page.write_text(f"before\n\n{old}\n\nafter\n")
    pages.write_tables("mine", {"rows": pages.markdown(("a", "b"), [("x", "2")])})
    assert page.read_text() == f"before\n\n{new}\n\nafter\n"
    assert "| x | 2 |" in new


@pytest.mark.parametrize("kept", [slice(0, 0), slice(0, 1), slice(1, 2)])
def test_a_page_that_lacks_a_mark_is_refused_and_stays(page, kept):
    begin, end = pages.marked("mine", "rows", "").split("\n\n\n\n")
    text = "\n".join(["before", *(begin, end)[kept], "after"])
    page.write_text(text)
    with pytest.raises(ValueError, match="must hold"):
        pages.write_tables("mine", {"rows": "table"})
    assert page.read_text() == text
