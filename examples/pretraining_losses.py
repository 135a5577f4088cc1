"""All pre-training tasks in one forward pass (the page's example is empty)."""

import torch
from transformers import AutoTokenizer

from lxmert import LxmertForPreTraining

tokenizer = AutoTokenizer.from_pretrained("unc-nlp/lxmert-base-uncased")
model = LxmertForPreTraining.from_pretrained("unc-nlp/lxmert-base-uncased")
config = model.config

inputs = tokenizer("a dog sits on the [MASK]", return_tensors="pt")
labels = torch.full_like(inputs.input_ids, -100)
masked = inputs.input_ids == tokenizer.mask_token_id
labels[masked] = tokenizer.convert_tokens_to_ids("a")

features = torch.randn(1, 36, config.visual_feat_dim)
weights = torch.rand(1, 36)  # the detector's confidence in each label; for features: 1 where masked
outputs = model(
    **inputs,
    visual_feats=features,
    visual_pos=torch.rand(1, 36, config.visual_pos_dim),
    labels=labels,
    matched_label=torch.tensor([1]),  # 1: the sentence belongs to the picture
    obj_labels={
        "obj": (torch.randint(config.num_object_labels, (1, 36)), weights),
        "attr": (torch.randint(config.num_attr_labels, (1, 36)), weights),
        "feat": (features, weights),
    },
    ans=torch.tensor([0]),
)
outputs.loss.backward()
for task, loss in outputs.losses.items():
    print(f"{task}: {loss.item():.4f}")
print(f"total: {outputs.loss.item():.4f}")
