import pytest

from srzoo.data.class_files import find_classes, read_classes
from srzoo.labels import IGNORE


@pytest.mark.parametrize(
    ("file", "text", "names", "colours", "values"),
    [
        ("classes.txt", "soil\nweed, small\n", ["soil", "weed, small"], None, None),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:9,8,7::\n",
            ["background", "car"],
            [(0, 0, 0), (9, 8, 7)],
            None,
        ),
        (
            "label_colors.txt",
            "64 128 64\tAnimal\n192 0 128 \tArch way\n",
            ["Animal", "Arch way"],
            [(64, 128, 64), (192, 0, 128)],
            None,
        ),
        ("labels.txt", "0: sky\n2: tree\n", ["sky", "tree"], None, [0, 2]),
        ("class_dict.csv", "name,r,g,b\nRoad,1,2,3\nSky,4,5,6\n", ["Road", "Sky"], [(1, 2, 3), (4, 5, 6)], None),
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, crack\n", ["background", "crack"], None, [0, 1]),
        (
            "classes.json",
            '{"classes": [{"title": "Water", "color": "#e2a929"}, {"title": "Road", "color": "#010203"}]}',
            ["Water", "Road"],
            [(226, 169, 41), (1, 2, 3)],
            None,
        ),
        ("colors.json", '{"a": "#ff0000", "b": [1, 2, 3]}', ["a", "b"], [(255, 0, 0), (1, 2, 3)], None),
        (
            "config_v1.2.json",  # Mapillary's
            '{"labels": [{"color": [1, 2, 3], "name": "animal--bird"}, {"color": [0, 0, 0], "name": "void--x"}]}',
            ["animal--bird", "void--x"],
            [(1, 2, 3), (0, 0, 0)],
            None,
        ),
        ("id2label.json", '{"0": "wall", "7": "door"}', ["wall", "door"], None, [0, 7]),
    ],
)
def test_files_of_several_tools(tmp_path, file, text, names, colours, values):
    (tmp_path / file).write_text(text)
    found = find_classes([tmp_path])
    assert (found.names, found.colours, found.values) == (names, colours, values)


@pytest.mark.parametrize("text", ["[1, 2]", "{", "null", '{"classes": [{"color": 3}]}', '{"a": 1.5}'])
def test_other_json_is_passed_over(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    assert find_classes([tmp_path]) is None


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("stage1_train_labels.csv", "ImageId,EncodedPixels\nx,1 2 3 4\n"),
        ("config.json", '{"batch": 4, "epochs": 10}'),
        ("config.json", '{"labels": {"a": 1}}'),
    ],
)
def test_other_tables_are_passed_over(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    assert read_classes(tmp_path / file) is None


def test_unlabeled_of_mapillary_is_void(tmp_path):
    (tmp_path / "config.json").write_text('{"labels": [{"name": "void--unlabeled"}, {"name": "construction--wall"}]}')
    assert find_classes([tmp_path]).ids == [IGNORE, 0]


@pytest.mark.parametrize(
    ("file", "text"),
    [("labelmap.txt", "background:0,0,0::\ncar:99999999999,8,7::\n"), ("class_dict.csv", "name,r,g,b\nRoad,1,2,300\n")],
)
def test_colours_that_are_none_are_refused(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=rf"{file}: the colour .*(99999999999|300).*0 to 255"):
        find_classes([tmp_path])


def test_names_of_void_are_no_classes(tmp_path):
    (tmp_path / "labelmap.txt").write_text("Unlabeled:0,0,0::\nroad:1,1,1::\ncar:2,2,2::\n")
    found = read_classes(tmp_path / "labelmap.txt")
    assert found.labels().classes == ("road", "car")
    assert found.labels().palette == ((1, 1, 1), (2, 2, 2))
    assert found.id_map(as_colours=True).mapping[0, 0, 0] == IGNORE
    assert found.id_map(as_colours=False).mapping == {255: 255, 0: 255, 1: 0, 2: 1}
