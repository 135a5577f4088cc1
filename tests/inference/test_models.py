"""A model's name: the embedded one, a folder, a hub name; anything else is one clear error."""

from pathlib import Path

import pytest

from lxmert.errors import WeightsError
from lxmert.inference.models import embedded_model_folder, locate_model


def test_the_embedded_model_is_a_folder_of_the_package() -> None:
    assert locate_model("scenes") == str(embedded_model_folder())


def test_a_folder_with_a_configuration_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate_model(str(tmp_path)) == locate_model(tmp_path) == str(tmp_path)


def test_a_hub_name_is_passed_on() -> None:
    assert locate_model("unc-nlp/lxmert-base-uncased") == "unc-nlp/lxmert-base-uncased"


@pytest.mark.parametrize("name", ["missing", "./missing/model", "a/b/c", "/no/such/folder", Path("a/b")])
def test_an_unknown_name_says_what_was_expected(name: str | Path) -> None:
    with pytest.raises(WeightsError, match="expected 'scenes'"):
        locate_model(name)


def test_a_folder_without_configuration_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json"):
        locate_model(tmp_path)


def test_a_file_is_pointed_to_convert(tmp_path: Path) -> None:
    file = tmp_path / "model_LXRT.pth"
    file.write_bytes(b"")
    with pytest.raises(WeightsError, match="lxmert convert"):
        locate_model(file)
