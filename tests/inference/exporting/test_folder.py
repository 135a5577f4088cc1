"""The folder of an exported model: what is replaced, what is kept, tokenizer.json and README.md."""

import os
import re
import runpy
import time
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from lxmert import LxmertProcessor, LxmertTokenizerFast
from lxmert.errors import ConfigurationError
from lxmert.inference.exporting.folder import atomic_folder, check_folder, write_text_files
from tests.inference.exporting.conftest import Exported, small_processor
from tests.model.small import inputs


def test_folder_or_file_that_is_no_export_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "first.txt").write_text("Dear")
    (tmp_path / "file").write_text("Dear")
    for name in ("letters", "file"):
        with pytest.raises(ConfigurationError, match="is not an exported model"):
            check_folder(tmp_path / name, overwrite=True)
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", overwrite=False)
    check_folder(tmp_path / "new", overwrite=False)


def test_mount_point_is_refused_also_behind_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mounted")
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "mounted")
    for name in ("mounted", "link"):
        with pytest.raises(
            ConfigurationError, match=rf"{name} is a mount point, .* choose a folder inside it"
        ):
            check_folder(tmp_path / name, overwrite=True)
    check_folder(tmp_path / "mounted" / "out", overwrite=False)


def test_atomic_folder_keeps_symlinks(tmp_path: Path) -> None:
    (tmp_path / "far" / "real").mkdir(parents=True)
    (tmp_path / "far" / "real" / "old").write_text("old")
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(tmp_path / "far" / "real")
    dangling.symlink_to(tmp_path / "far" / "new")
    for place in (link, dangling):
        with atomic_folder(place) as partial:
            (partial / "whole").write_text("whole")
        assert place.is_symlink()
        assert [path.name for path in place.iterdir()] == ["whole"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "far", "link"]
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["new", "real"]


def test_atomic_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "far" / "deep" / "out"

    def stop_halfway() -> None:
        with atomic_folder(folder) as partial:
            (partial / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert not list(folder.parent.iterdir())
    with atomic_folder(folder) as partial:
        (partial / "whole").write_text("whole")
        assert not folder.exists()
    assert (folder / "whole").read_text() == "whole"
    with atomic_folder(folder) as partial:
        (partial / "other").write_text("other")
    assert [path.name for path in folder.iterdir()] == ["other"]
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(("renames", "kept"), [(1, "old"), (2, "new")])
def test_interrupted_replacement_keeps_one_complete_folder(
    renames: int, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted when the previous folder is out of the way, and when the new one is in its place."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    rename, done = os.replace, []

    def rename_and_interrupt(source: Path, target: Path) -> None:
        rename(source, target)
        done.append(target)
        if len(done) == renames:
            raise KeyboardInterrupt

    def replace() -> None:
        with atomic_folder(tmp_path / "out") as partial:
            (partial / "new").write_text("new")

    monkeypatch.setattr(os, "replace", rename_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [kept]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def make_remains(folder: Path, name: str, *, hours: float, file: str = "export.json") -> Path:
    """A folder beside another, with one file, last changed some hours ago."""
    remains = folder / name
    remains.mkdir()
    (remains / file).write_text(name)
    changed = time.time() - hours * 3600
    os.utime(remains, (changed, changed))
    return remains


def test_remains_of_killed_exports_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "o[u]t"
    out.mkdir()
    (out / "old").write_text("old")
    kept = [
        make_remains(tmp_path, name, hours=hours)
        for name, hours in (
            (".o[u]t.partial-0a1b2c3d", 23),
            (".other.partial-0a1b2c3e", 25),
            (".o[u]t.partial", 25),
        )
    ]
    make_remains(tmp_path, ".o[u]t.partial-0a1b2c3f", hours=25)
    former = make_remains(tmp_path, ".o[u]t.former-0a1b2c3d", hours=0)
    with atomic_folder(out):
        assert former.exists(), "it may be all that is left"
    assert sorted(tmp_path.iterdir()) == sorted([out, *kept])


def test_folder_that_killed_export_had_moved_comes_back(tmp_path: Path) -> None:
    make_remains(tmp_path, ".out.former-0a1b2c3d", hours=0)

    def fail() -> None:
        with atomic_folder(tmp_path / "out"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "out" / "export.json").read_text() == ".out.former-0a1b2c3d"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("left", ["nothing", "empty folder", "link"])
@pytest.mark.parametrize("count", [1, 2])
def test_export_that_a_killed_one_had_moved_is_not_replaced_without_overwrite(
    left: str, count: int, tmp_path: Path
) -> None:
    (tmp_path / "near").mkdir()
    out = tmp_path / "near" / "out"
    place = tmp_path / "far" if left == "link" else out
    if left == "empty folder":
        out.mkdir()
    if left == "link":
        out.symlink_to(place)
    moved = [place.with_name(f".{place.name}.former-0a1b2c3{digit}") for digit in "de"[:count]]
    for path in moved:
        make_remains(path.parent, path.name, hours=0)
    names = " or ".join(re.escape(str(path)) for path in moved)
    with pytest.raises(ConfigurationError, match=rf"near/out contained .* moved to {names}; rename it back"):
        check_folder(out, overwrite=False)
    assert all((path / "export.json").exists() for path in moved)
    check_folder(out, overwrite=True)


def test_former_export_that_was_being_deleted_does_not_come_back(tmp_path: Path) -> None:
    make_remains(tmp_path, ".out.former-0a1b2c3d", hours=0, file="vocab.txt")
    check_folder(tmp_path / "out", overwrite=False)
    with atomic_folder(tmp_path / "out"):
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_several_moved_folders_stay_until_the_next_export_is_complete(tmp_path: Path) -> None:
    """None is known to be the right one."""
    moved = [make_remains(tmp_path, f".out.former-0a1b2c3{digit}", hours=0) for digit in "de"]
    with atomic_folder(tmp_path / "out"):
        assert all(path.exists() for path in moved)
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_named_like_exported_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("{}")
    check_folder(tmp_path, overwrite=True)
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(ConfigurationError, match=r"contains 'model.onnx' beside an exported model"):
        check_folder(tmp_path, overwrite=True)


def test_tokenizer_json_pads_with_pad_token_of_vocabulary(tmp_path: Path) -> None:
    words = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "[PAD]"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = LxmertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt"))
    write_text_files(tmp_path, LxmertProcessor(tokenizer))
    found = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode_batch(["red", "red red"])
    assert [one.ids for one in found] == [[1, 4, 2, 5], [1, 4, 4, 2]]
    assert found[0].tokens[-1] == "[PAD]"


def test_tokenizer_of_processor_stays_as_it_was(tmp_path: Path) -> None:
    processor = small_processor()
    before = processor.tokenizer.backend_tokenizer.to_str()
    write_text_files(tmp_path, processor)
    assert processor.tokenizer.backend_tokenizer.to_str() == before


def test_readme_of_onnx_folder_describes_model_files_and_agreement(onnx_export: Exported) -> None:
    text = (onnx_export.folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(
        "# LxmertForQuestionAnswering for vqa\n"
        "LxmertForQuestionAnswering for ONNX Runtime (operator set 20), float32, exported by lxmert "
    )
    assert "words at most 16." in text
    head, rest = text.split("## Inputs")
    inputs, outputs = rest.split("## Outputs")
    assert re.findall(r"^\| `(.+?)`", head, re.MULTILINE) == sorted(
        path.name for path in onnx_export.folder.iterdir() if path.name != "README.md"
    )
    assert "| `visual_feats` | float32 | batch, objects, 13 | features of the objects |\n" in inputs
    assert "| `question_answering_score` | float32 | batch, 9 | one score per answer, " in outputs
    [line] = onnx_export.report.lines()
    assert line.startswith("float32, 21 random batches: largest difference ")
    assert text.endswith(f"## Agreement with the model\n- {line}\n")


def test_readme_of_torch_folder_names_its_runtime(torch_export: Exported) -> None:
    text = (torch_export.folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(
        "# LxmertForQuestionAnswering\nLxmertForQuestionAnswering for PyTorch (torch.export), float32, "
    )


@pytest.mark.parametrize("kind", ["onnx_export", "torch_export"])
def test_readme_example_gives_the_models_scores(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: Exported = request.getfixturevalue(kind)
    batch = inputs(exported.model.config)
    if kind == "onnx_export":
        del batch["token_type_ids"]
    with torch.no_grad():
        expected = exported.model(**batch).question_answering_score
    text = (exported.folder / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    given = {name: values.numpy() for name, values in batch.items()} if kind == "onnx_export" else batch
    monkeypatch.chdir(exported.folder)
    variables = runpy.run_path(str(tmp_path / "example.py"), {"inputs": given})
    found = torch.as_tensor(variables["question_answering_score"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
