"""The question-answering example of the LXMERT page, with one import changed.

The page's older version lacks visual inputs and uses `start_logits`, which LXMERT never had; this one runs.
"""

import torch
from transformers import AutoTokenizer

from lxmert import LxmertForQuestionAnswering

tokenizer = AutoTokenizer.from_pretrained("unc-nlp/lxmert-base-uncased")
model = LxmertForQuestionAnswering.from_pretrained("unc-nlp/lxmert-base-uncased", dtype="auto")

question, text = "How do plants create energy?", "By a process known as photosynthesis."

# Stand-ins for the features and boxes of a picture's objects (see examples/own_picture.py for real ones).
visual_feats = torch.randn(1, 36, model.config.visual_feat_dim)
visual_pos = torch.rand(1, 36, model.config.visual_pos_dim)

inputs = tokenizer(question, text, return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs, visual_feats=visual_feats, visual_pos=visual_pos)

qa_scores = outputs.question_answering_score
predicted_answer_idx = qa_scores.argmax().item()

print(f"Question answering scores: {qa_scores[0]}")
print(f"Predicted answer index: {predicted_answer_idx}")
print(f"Confidence score: {qa_scores[0][predicted_answer_idx]:.4f}")
