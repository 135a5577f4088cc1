"""The base model's example of the LXMERT page, corrected: with visual inputs and actual output names."""

import torch
from transformers import AutoTokenizer

from lxmert import LxmertModel

tokenizer = AutoTokenizer.from_pretrained("unc-nlp/lxmert-base-uncased")
model = LxmertModel.from_pretrained("unc-nlp/lxmert-base-uncased")

inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
visual_feats = torch.randn(1, 36, model.config.visual_feat_dim)
visual_pos = torch.rand(1, 36, model.config.visual_pos_dim)
outputs = model(**inputs, visual_feats=visual_feats, visual_pos=visual_pos, output_attentions=True)

print("words:", tuple(outputs.language_output.shape))
print("objects:", tuple(outputs.vision_output.shape))
print("pooled:", tuple(outputs.pooled_output.shape))
print("words looking at objects, last layer:", tuple(outputs.cross_encoder_attentions[-1].shape))
