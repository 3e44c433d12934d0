import pytest

from srzoo.data.opening import open_dataset


@pytest.mark.parametrize("base", ["", "VOC2010"])
def test_the_converted_layout(tmp_path, write_image, write_mask, base):
    root = tmp_path / base
    for name in ("2008_000002", "2008_000003", "2010_000001"):
        write_image(root / "JPEGImages" / f"{name}.jpg", 60)
        write_mask(root / "SegmentationClassContext" / f"{name}.png", range(60))
    write_image(root / "JPEGImages" / "2007_000001.jpg")  # in VOC, but not annotated
    lists = root / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2008_000002\n2010_000001\n")
    (lists / "val.txt").write_text("2008_000003\n")
    dataset = open_dataset(tmp_path, "train")
    assert dataset.format == "pascal_context"
    assert [image.stem for image, _ in dataset.pairs] == ["2008_000002", "2010_000001"]
    assert dataset[0][1][:, 0].tolist() == [255, *range(59)]
    assert len(dataset.labels.classes) == 59
    with pytest.raises(FileNotFoundError, match=r"no file .*test.txt"):
        open_dataset(tmp_path, "test")
    (lists / "val.txt").write_text("2009_000009\n")
    with pytest.raises(FileNotFoundError, match="2009_000009 is in"):
        open_dataset(tmp_path, "val")
