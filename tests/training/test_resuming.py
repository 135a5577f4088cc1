"""Fingerprints of data, and the path of the best checkpoint in a folder that was moved."""

import json
from hashlib import blake2b
from pathlib import Path

from lxmert.training.resuming import correct_best_checkpoint_path, fingerprint


def test_fingerprint_hashes_entries_as_lines() -> None:
    entries = [f"sentence {number}" for number in range(2_500)]
    text = "".join(f"{entry}\n" for entry in entries)
    assert fingerprint(entries) == blake2b(text.encode(), digest_size=16).hexdigest()
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    assert fingerprint(["a", "b"]) != fingerprint(["b", "a"])


def test_fingerprint_accepts_text_that_is_not_valid_unicode() -> None:
    assert fingerprint(["\ud83d"]) != fingerprint(["?"])


def test_best_checkpoint_path_follows_moved_folder(tmp_path: Path) -> None:
    for best, expected in ((None, None), ("/gone/checkpoint-7", str(tmp_path / "checkpoint-7"))):
        checkpoint = tmp_path / "checkpoint-14"
        checkpoint.mkdir(exist_ok=True)
        file = checkpoint / "trainer_state.json"
        file.write_text(json.dumps({"best_model_checkpoint": best, "global_step": 14}))
        correct_best_checkpoint_path(checkpoint)
        assert json.loads(file.read_text()) == {"best_model_checkpoint": expected, "global_step": 14}
