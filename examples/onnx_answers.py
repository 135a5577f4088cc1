"""Answers a question with an exported model, using only ONNX Runtime, tokenizers and NumPy.

Neither PyTorch nor lxmert is imported here; the files are made by its commands:

    lxmert export scenes --output exported                  # once, a model
    lxmert extract photo.png --output photo.features        # the objects of a picture, or of many
    lxmert features export photo.features photo.tsv         # in the format of the original feature files
    python examples/onnx_answers.py exported photo.tsv "Is there a red circle?"
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

if len(sys.argv) != 4:
    sys.exit('usage: onnx_answers.py FOLDER FEATURES.tsv "QUESTION"')
folder, features, question = Path(sys.argv[1]), *sys.argv[2:]
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
words = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(question)
answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
size = session.get_inputs()[2].shape[-1]  # features of an object
for line in Path(features).read_text().splitlines():
    name, height, width, *_, count, boxes, described = line.split("\t")
    boxes, described = (np.frombuffer(base64.b64decode(text), "<f4") for text in (boxes, described))
    if count == "0":  # one object of zeros, hidden by the mask
        boxes, described = np.zeros(4, "<f4"), np.zeros(size, "<f4")
    inputs = {
        "input_ids": np.array([words.ids]),
        "attention_mask": np.array([words.attention_mask]),
        "visual_feats": described.reshape(1, -1, size),
        "visual_pos": boxes.reshape(1, -1, 4) / np.float32([width, height] * 2),
        "visual_attention_mask": np.array([[1] * int(count) or [0]], "int64"),
    }
    [[scores], *_] = session.run(None, inputs)
    chances = np.exp(scores - scores.max())
    print(f"{name}: {answers[scores.argmax()]} {chances.max() / chances.sum():.0%}")
