"""Lists of spaces and presets: a line each, columns below their headings."""

from ssdprof.kernels.interface import ListedPreset, ListedSpace
from ssdprof.reports.text.listings import aligned, presets_text, spaces_text


def test_texts_are_on_the_left_numbers_on_the_right_and_the_last_column_ends_its_line() -> None:
    assert "name   n  what\na      1  x y\nlong  12  \n" == aligned(
        ("name", "n", "what"), [("a", "1", "x y"), ("long", "12", "")]
    )


def test_a_space_without_configs_on_the_problem_says_why_and_the_default_is_marked() -> None:
    listed = [ListedSpace("one", 3, "of one", True), ListedSpace("two", None, "of two", absent="too large")]
    assert [["space", "configs", "holds"], ["one", "3", "of", "one", "(default)"], ["two", "–", "too", "large"]] == [
        line.split() for line in spaces_text(listed).splitlines()
    ]


def test_presets_have_the_fields_that_they_set_as_columns() -> None:
    listed = [ListedPreset("one", {"size": 8, "kind": "x"}, "A Model", "A Model, its file", True)]
    assert [["preset", "size", "kind", "model"], ["one", "8", "x", "A", "Model", "(default)"]] == [
        line.split() for line in presets_text(listed).splitlines()
    ]
