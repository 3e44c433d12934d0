import json
from types import SimpleNamespace

import pytest

from srzoo.tasks.instance.results_file import ResultsFile


@pytest.fixture
def write(tmp_path):
    """Write entries as the class does; returns the file."""

    def run(entries):
        export = ResultsFile(tmp_path / "results.json", SimpleNamespace(image_ids=(), category_ids=()))
        export.entries.append((0, entries))
        export.finish()
        return export

    return run


@pytest.mark.parametrize(("image", "category"), [(1, 2), (139.0, -3), (1e30, 2), ("a.jpg", "c1"), ('a "b"', "ü")])
def test_its_own_file_is_known_again_and_that_of_another_program_is_not(write, tmp_path, image, category):
    entry = {"image_id": image, "category_id": category, "bbox": [0.5, 1.0, 2.0, 3.0], "score": 1e-05}
    entries = [{**entry, "segmentation": {"size": [4, 5], "counts": "0`0"}}] * 2
    export = write(entries)
    assert json.loads(export.path.read_text()) == entries and export.is_own(export.path)
    other = tmp_path / "coco_instances_results.json"
    other.write_text(json.dumps(entries))  # as detectron2 writes it
    assert not export.is_own(other)
    assert write([]).is_own(export.path) and json.loads(export.path.read_text()) == []
