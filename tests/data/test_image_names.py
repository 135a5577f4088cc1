"""NameIndex finds the names that comparing all with all finds."""

from hypothesis import given
from hypothesis import strategies as st

from lxmert.data.image_names import NameIndex, may_be_same_image

NAMES = st.lists(st.sampled_from(["a", "b", "a.1"]), min_size=1, max_size=4).map("/".join)
SPELLINGS = st.builds("{}{}{}".format, st.sampled_from(["", "/", "./"]), NAMES, st.sampled_from(["", ".jpg"]))


@given(st.lists(SPELLINGS, unique=True, max_size=20), SPELLINGS)
def test_index_finds_the_names_that_may_be_the_same_image(names: list[str], name: str) -> None:
    expected = [position for position, other in enumerate(names) if may_be_same_image(name, other)]
    assert NameIndex(names).find(name) == expected


def test_first_of_equal_names_counts() -> None:
    assert NameIndex(["b", "c/a.jpg", "c/a.jpg", "c/a.png"]).find("a") == [1, 3]
