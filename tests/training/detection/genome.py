"""Made scenes as a small data set in Visual Genome's format."""

import json
from pathlib import Path


def visual_genome_from(scenes: Path, folder: Path, ending: str = "png") -> Path:
    """Write boxes of both splits as Visual Genome's files, the first eight images of each in its list.

    Pictures are linked; their ending is for the name only, readers look at the content.
    """
    folder.mkdir()
    objects, attributes, sizes = [], [], []
    (folder / "images").mkdir()
    for split in ("train", "val"):
        coco = json.loads((scenes / f"annotations/instances_{split}.json").read_text())
        shapes = {category["id"]: category["name"] for category in coco["categories"]}
        for image in coco["images"]:
            things = [thing for thing in coco["annotations"] if thing["image_id"] == image["id"]]
            records = [
                dict(zip(("x", "y", "w", "h"), thing["bbox"], strict=True))
                | {"object_id": thing["id"], "names": [shapes[thing["category_id"]], "shape"]}
                for thing in things
            ]
            described = [
                record | {"attributes": list(thing["attributes"].values())}
                for record, thing in zip(records, things, strict=True)
            ]
            objects.append({"image_id": image["id"], "objects": records})
            attributes.append({"image_id": image["id"], "attributes": described})
            sizes.append({"image_id": image["id"], "width": image["width"], "height": image["height"]})
            source = scenes / "images" / split / image["file_name"]
            (folder / "images" / f"{image['id']}.{ending}").symlink_to(source)
        ids = [str(image["id"]) for image in coco["images"]]
        (folder / f"{split}.txt").write_text("\n".join(ids[:8]) + "\n")
    for name, content in (("objects", objects), ("attributes", attributes), ("image_data", sizes)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder
