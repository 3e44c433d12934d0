import json

from srzoo.cli.coco_file import collect
from srzoo.tasks.saving import write


def test_a_file_that_cannot_be_read_does_not_cost_the_others(tmp_path):
    """As that of an image whose path is too long for a result."""
    for name in ("x", "y"):
        image = {"id": 1, "file_name": f"{name}.png"}
        write(tmp_path / name, {"_coco.json": lambda: {"images": [image], "annotations": [], "categories": []}})  # noqa: B023
    assert collect([tmp_path / name for name in ("x", "z" * 300, "y", "missing")], tmp_path / "coco.json") == 2
    images = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert [(each["id"], each["file_name"]) for each in images] == [(1, "x.png"), (2, "y.png")]
