"""`locate_model`: the embedded model, a folder or a hub name; anything else is one clear error."""

import json
from pathlib import Path

import pytest

from lxmert import LxmertProcessor
from lxmert.errors import WeightsError
from lxmert.inference.models import embedded_model_folder, find_model, locate_model
from lxmert.weights.hub import hub_folder


def test_embedded_model_is_folder_of_package() -> None:
    assert locate_model("scenes") == str(embedded_model_folder())


def test_folder_with_config_json_is_returned_unchanged(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate_model(str(tmp_path)) == locate_model(tmp_path) == str(tmp_path)


def test_hub_name_is_returned_unchanged() -> None:
    assert locate_model("unc-nlp/lxmert-base-uncased") == "unc-nlp/lxmert-base-uncased"


@pytest.mark.parametrize("name", ["missing", "./missing/model", "a/b/c", "/no/such/folder", Path("a/b")])
def test_unknown_name_raises_error_with_expected_forms(name: str | Path) -> None:
    with pytest.raises(WeightsError, match="expected 'scenes'"):
        locate_model(name)


def test_folder_without_config_json_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json"):
        locate_model(tmp_path)


def test_detector_is_rejected_naming_its_option() -> None:
    folder = embedded_model_folder().with_name("scenes_detector")
    with pytest.raises(WeightsError, match=r"scenes_detector' is a detector.*pass it as --detector"):
        find_model(folder)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("model_LXRT.pth", ", or convert an original checkpoint with `lxmert convert`"),
        ("last.pt", ", or convert an original checkpoint with `lxmert convert`"),
        ("pytorch_model.bin", ", or convert an original checkpoint with `lxmert convert`"),
        ("model.safetensors", ""),
    ],
)
def test_file_error_asks_for_its_folder_and_names_convert_command_for_checkpoints(
    tmp_path: Path, name: str, advice: str
) -> None:
    file = tmp_path / name
    file.write_bytes(b"")
    expected = (
        f"{file} is a file, expected a model folder or a hub name; pass the folder that it is in{advice}"
    )
    for load in (locate_model, hub_folder):
        with pytest.raises(WeightsError) as caught:
            load(str(file))
        assert str(caught.value) == expected


def test_embedded_processor_config_equals_saved_one(tmp_path: Path) -> None:
    """With the identity of its detector, by which features are recognised without building it."""
    processor = LxmertProcessor.from_pretrained(embedded_model_folder())
    assert processor.extractor is not None
    processor.save_pretrained(tmp_path)
    stored, saved = (
        json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
        for folder in (embedded_model_folder(), tmp_path)
    )
    assert "extractor_identity" in stored
    assert stored == saved
