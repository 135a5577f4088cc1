"""Commands that need no neural network start without the libraries that take seconds to import."""

import json
import subprocess
import sys
from pathlib import Path

from tests.data.stores import random_regions, write_store

PROBE = """
import sys
from lxmert.cli.main import main

def run(heavy, *words):
    try:
        main(words)
    except SystemExit as ended:
        status = ended.code or 0
    print("PROBE", words[0], words[1], status, *sorted(heavy & sys.modules.keys()))

store, predictions, annotations = sys.argv[1:]
run({"torch", "transformers"}, "score", "vqa", "-p", predictions, "-a", annotations)
run({"transformers"}, "features", "info", store)
run({"transformers"}, "features", "compare", store, store, "-q")
"""


def test_score_and_features_commands_do_not_import_heavy_libraries(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", {"a.jpg": random_regions(1), "b.jpg": random_regions(2)})
    annotation = {
        "question_id": 7,
        "image_id": 1,
        "question_type": "is",
        "answer_type": "yes/no",
        "multiple_choice_answer": "yes",
        "answers": [{"answer": "yes", "answer_confidence": "yes", "answer_id": one + 1} for one in range(10)],
    }
    annotations, predictions = tmp_path / "annotations.json", tmp_path / "predictions.json"
    annotations.write_text(json.dumps({"annotations": [annotation]}))
    predictions.write_text(json.dumps([{"question_id": 7, "answer": "yes"}]))
    command = [sys.executable, "-c", PROBE, str(store), str(predictions), str(annotations)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    probe_lines = [line for line in done.stdout.splitlines() if line.startswith("PROBE")]
    assert probe_lines == ["PROBE score vqa 0", "PROBE features info 0", "PROBE features compare 0"], (
        done.stderr
    )
