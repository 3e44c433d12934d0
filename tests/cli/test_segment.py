import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import srzoo
from srzoo.cli import main, segment
from srzoo.cli.inputs import find_images
from srzoo.cli.outputs import unique_stems
from srzoo.cli.overlap import overlap
from srzoo.cli.segment import table
from srzoo.tasks.saving import source_of


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_image(examples, out, capsys):
    assert main(["segment", str(examples / "street.png"), "--out", str(out)]) == 0
    assert files(out) == ["street_labels.png", "street_overlay.jpg"]
    with Image.open(out / "street_labels.png") as labels, Image.open(out / "street_overlay.jpg") as overlay:
        assert labels.size == overlay.size == (480, 360)
        assert labels.mode == "P"
        assert np.asarray(labels).max() <= 10
    printed = capsys.readouterr().out
    assert "street_labels.png" in printed
    assert "road" in printed
    assert "%" in printed


def test_folder_glob_and_file_give_each_image_once(examples, out, capsys):
    paths = [str(examples), str(examples / "s*.png"), str(examples / "street.png")]
    assert main(["segment", *paths, "--out", str(out)]) == 0
    assert len(files(out)) == 8  # four images


def test_threads_write_and_print_the_same(album, small, tmp_path, capsys, monkeypatch):
    """As they do for a network on a GPU."""
    (album / "broken.png").write_bytes(b"\x89PNG")
    printed, written = [], []
    for device_type in ("cpu", "cuda"):
        monkeypatch.setattr(segment, "overlap", lambda _, tell, device_type=device_type: overlap(device_type, tell))
        assert main(["segment", str(album), "-r", "--model", small, "--out", str(tmp_path / "out")]) == 2
        printed.append(capsys.readouterr())
        written.append({path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")})
        shutil.rmtree(tmp_path / "out")
    assert printed[0].out == printed[1].out and "broken.png" in printed[1].err
    assert written[0] == written[1] and len(written[0]) >= 4


def test_results_in_the_input_folder_are_skipped(examples, tmp_path):
    shutil.copy(examples / "street.png", tmp_path)
    for _ in range(2):
        assert main(["segment", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert files(tmp_path) == ["street.png", "street_labels.png", "street_overlay.jpg"]


def test_equal_names_do_not_overwrite_each_other():
    stems = unique_stems(["a/x.png", "b/x.png", "b/X.jpg", "http://h/x.png?v=1", "a/y.png"])
    assert list(stems.values()) == ["x", "x-2", "X-3", "x-4", "y"]


def test_names_are_unique_where_letters_of_either_unicode_form_are_one():
    stems = unique_stems(["a/\u00e9.png", "a/e\u0301.png"])
    assert [len(stem) for stem in stems.values()] == [1, 4]  # e\u0301-2


def test_thousands_of_equal_names_take_no_time_for_each_other():
    stems = unique_stems([f"{i}/x.png" for i in range(20_000)])  # a minute, when each tried all before it
    assert len({*stems.values()}) == 20_000 and stems["19999/x.png"] == "x-20000"


def test_the_result_of_another_image_stays(write_image, small, tmp_path, out):
    """That of x.jpg, which an earlier command wrote, was replaced by that of x.png."""
    for name in ("x.jpg", "x.png", "sub/x.jpg"):
        write_image(tmp_path / name, 40, 60)
    for name in ("x.jpg", "x.png", "x.jpg", "x.png"):
        assert main(["segment", str(tmp_path / name), "--model", small, "--out", str(out)]) == 0
    sources = {path.name: source_of(path) for path in out.iterdir()}
    assert sources == {
        "x_labels.png": "x.jpg",
        "x_overlay.jpg": "x.jpg",
        "x-2_labels.png": "x.png",
        "x-2_overlay.jpg": "x.png",
    }
    # In its folder, an image has another name in its result.
    assert main(["segment", str(tmp_path), "-r", "--model", small, "--out", str(out), "--skip-existing"]) == 0
    assert main(["segment", str(tmp_path / "sub"), "--model", small, "--out", str(out / "sub")]) == 0
    assert len(files(out)) == 5 and files(out / "sub") == ["x_labels.png", "x_overlay.jpg"]


def test_a_result_that_another_process_writes_meanwhile_stays(write_image, small, tmp_path, out, capsys, monkeypatch):
    image = str(write_image(tmp_path / "x.png", 40, 60))
    result = srzoo.Segmenter(small)(image)

    def read(self, source):
        result.save(out / "x", "x.jpg")
        return result.image

    monkeypatch.setattr(srzoo.Segmenter, "read", read)
    monkeypatch.setattr(srzoo.Segmenter, "__call__", lambda *_, **__: result)
    assert main(["segment", image, "--model", small, "--out", str(out)]) == 2
    assert "x_overlay.jpg is the result of another image" in capsys.readouterr().err
    assert {source_of(path) for path in out.iterdir()} == {"x.jpg"}


def test_invalid_files_do_not_stop_the_others(examples, tmp_path, out, capsys):
    folder = tmp_path / "batch"
    folder.mkdir()
    whole = (examples / "street.png").read_bytes()
    (folder / "a_truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b_empty.png").touch()
    (folder / "c_text.png").write_text("I am no picture")
    shutil.copy(examples / "street.png", folder / "d_good.png")
    assert (
        main(["segment", str(folder), str(tmp_path / "gone.png"), str(tmp_path / "*.nothing"), "--out", str(out)]) == 2
    )
    assert files(out) == ["d_good_labels.png", "d_good_overlay.jpg"]
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("srzoo:")]
    for name in ("a_truncated.png", "b_empty.png", "c_text.png", "gone.png", "*.nothing"):
        assert sum(name in line for line in lines) == 1
    assert re.search(r"\b5 of 6\b", lines[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "srnet_lite_camvid"], "'srnet_lite_camvid'.*'srnet_lite0_camvid'"),
        (["--model", "srnet_r50_camvid"], "'srnet_r50_camvid'.*srnet_lite0_camvid"),
        (["--model", "gone.safetensors"], r"gone\.safetensors"),
        (["--device", "cuda:99"], "'cuda:99'.*'cpu'"),
        (["--tile", "100"], "tile=100 .* 64 .* 16"),
    ],
)
def test_invalid_arguments_are_one_line_of_error(arguments, message, examples, out, capsys):
    assert main(["segment", str(examples / "street.png"), "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error)
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_damaged_weights(examples, out, tmp_path, capsys):
    (tmp_path / "bad.safetensors").write_bytes(os.urandom(100))
    command = ["segment", str(examples / "street.png"), "--out", str(out), "--model", str(tmp_path / "bad.safetensors")]
    assert main(command) == 2
    assert "bad.safetensors" in capsys.readouterr().err


def test_output_that_is_a_file(examples, tmp_path, capsys):
    (tmp_path / "taken").touch()
    assert main(["segment", str(examples / "street.png"), "--out", str(tmp_path / "taken")]) == 2
    assert re.search("taken'.*--out", capsys.readouterr().err)
    assert main(["segment", str(examples / "street.png"), "--out", "/proc/nowhere"]) == 2
    assert re.search("'/proc/nowhere'.*--out", capsys.readouterr().err)


def test_failed_write_leaves_no_file(examples, out, capsys, monkeypatch):
    def fail(self, path, *args, **kwargs):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert main(["segment", str(examples / "street.png"), "--out", str(out)]) == 2
    assert not out.exists()
    assert "street.png: " in (error := capsys.readouterr().err)
    assert "No space left on device" in error


def test_what_libraries_print_of_an_image_has_its_name(examples, tmp_path, out, run_python):
    street, file = Image.open(examples / "street.png").convert("RGB"), io.BytesIO()
    street.save(file, "TIFF", compression="tiff_lzw")
    content = bytearray(file.getvalue())
    content[2000:2200] = bytes(200)
    (tmp_path / "bad.tif").write_bytes(content)
    street.save(tmp_path / "odd.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")  # Pillow calls it corrupt
    images = [str(tmp_path / "bad.tif"), str(tmp_path / "odd.jpg"), str(examples / "street.png")]
    result = run_python("-m", "srzoo", "segment", *images, "--out", str(out))
    lines = result.stderr.replace("\r", "\n").splitlines()
    assert result.returncode == 2, lines
    assert sum("bad.tif: " in line for line in lines) == 2, lines  # libtiff's line, and the error
    assert any("odd.jpg: Corrupt EXIF" in line for line in lines), lines
    assert all(line.startswith("srzoo: ") for line in lines if line), lines


def test_an_output_folder_that_no_system_has(examples, capsys):
    assert main(["segment", str(examples / "street.png"), "--out", "d/" * 3000]) == 2
    assert re.search(r"folder 'd/d/.*too long.*--out", capsys.readouterr().err)


@pytest.mark.parametrize("brief", [True, False])
def test_an_image_without_objects(brief):
    class Nothing:
        def found(self):
            return []

    assert table(Nothing(), brief) == "  nothing found"


def test_uppercase_suffix_and_empty_folder(tmp_path):
    (tmp_path / "A.JPG").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    found = find_images([str(tmp_path), str(tmp_path / "empty")])
    assert list(found.images) == [str(tmp_path / "A.JPG")]
    (failure,) = found.failures
    assert "empty: " in failure and ".jpg" in failure


def test_tiles(examples, out):
    """Tiles of an image no larger than the usual input have nearly the same labels."""
    labels = []
    for options in ([], ["--tile", "256"]):
        assert main(["segment", str(examples / "street.png"), "--out", str(out), *options]) == 0
        with Image.open(out / "street_labels.png") as image:
            labels.append(np.asarray(image))
    assert 0.99 < (labels[0] == labels[1]).mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "size", "limit"),
    [([], (12000, 9000), 2600), (["--tile", "1024"], (6000, 9000), 1500)],
    ids=["whole", "tiles"],
)
def test_memory_for_a_huge_image(options, size, limit, run_python, tmp_path):
    if options:  # the memory is that of the pictures, and the time that of the tiles: a small network, half the pixels
        network = {"backbone": "test_efficientnet", "num_classes": 11, "channels": 32, "output_stride": 16}
        srzoo.save_model(srzoo.create_model("srnet", **network), tmp_path / "small.safetensors")
        options = [*options, "--model", "small.safetensors"]
    Image.new("L", size, 90).save(tmp_path / "huge.png")
    code = (
        "import sys; from srzoo.cli import main\n"
        f"status = main(['segment', 'huge.png', '--out', 'out', *{options}])\n"
        "print(int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024)\n"
        "sys.exit(status)"
    )
    result = run_python("-c", code, timeout=1800)
    assert result.returncode == 0, result.stderr
    # VmHWM, since the ru_maxrss of a child begins with that of its parent.
    # MiB; torch takes 770. Of 108 million pixels the decoded image and its overlay take 412 each (Pillow has 4 bytes
    # for a pixel), the labels 103; of 54 million half of that, so that a copy of the picture is past the limit too.
    assert int(result.stdout.split()[-1]) < limit
    with Image.open(tmp_path / "out" / "huge_labels.png") as labels:
        assert labels.size == size


@pytest.mark.parametrize("error", [RuntimeError("of any kind"), TypeError("x"), AssertionError(), MemoryError()])
def test_whatever_fails_the_rest_goes_on(error, examples, tmp_path, out, capsys, monkeypatch):
    from srzoo.tasks.semantic.result import Segmentation

    save = Segmentation.save

    def fail(self, base, *args, **options):
        if base.name == "crossing":
            raise error
        return save(self, base, *args, **options)

    monkeypatch.setattr(Segmentation, "save", fail)
    assert main(["segment", str(examples), "--out", str(out)]) == 2
    assert len(files(out)) == 6
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("srzoo:")]
    assert "crossing.png: " in lines[0] and "1 of 4" in lines[1] and len(lines) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ImportError("pip install pycocotools")])
@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_what_every_image_would_meet_ends_the_command(error, device_type, examples, small, out, capsys, monkeypatch):
    """Thousands of images were computed, each with the same line, on a full disk or without a package."""
    from srzoo.tasks.semantic.result import Segmentation

    tried, save = [], Segmentation.save

    def fail(self, base, *args, **options):
        tried.append(base.name)
        if len(tried) > 1:
            raise error
        return save(self, base, *args, **options)

    monkeypatch.setattr(Segmentation, "save", fail)
    monkeypatch.setattr(segment, "overlap", lambda _, tell: overlap(device_type, tell))
    many = [str(path) for path in examples.glob("*.png")]
    assert main(["segment", *many, "--model", small, "--out", str(out), "--json"]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.replace("\r", "\n").splitlines() if line.startswith("srzoo:")]
    assert str(error) in lines[0] and "1 of 3" in lines[1] and len(lines) == 2
    assert "--skip-existing" in lines[1] and "coco.json" in lines[1]
    assert "1 of 3 images" in captured.out and not (out / "coco.json").exists()


def test_a_package_that_one_file_needs_fails_that_file_alone(album, small, out, capsys, monkeypatch):
    """As tifffile, for TIFF files of many bands among others."""

    def read(self, source, read=srzoo.Segmenter.read):
        if "b" in Path(source).parts:
            raise ImportError("pip install 'srzoo[geo]'")
        return read(self, source)

    monkeypatch.setattr(srzoo.Segmenter, "read", read)
    assert main(["segment", str(album), "-r", "--model", small, "--out", str(out)]) == 2
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("srzoo:")]
    assert len(lines) == 3 and all("[geo]" in line for line in lines[:2]) and "2 of 4" in lines[2]
    assert tree(out) == ["a/x_labels.png", "a/x_overlay.jpg", "x_labels.png", "x_overlay.jpg"]


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_an_interrupt_says_what_is_done_and_how_it_goes_on(device_type, examples, small, out, capsys, monkeypatch):
    def read(self, source, read=srzoo.Segmenter.read):
        if "facade" in str(source):
            raise KeyboardInterrupt
        return read(self, source)

    monkeypatch.setattr(srzoo.Segmenter, "read", read)
    monkeypatch.setattr(segment, "overlap", lambda _, tell: overlap(device_type, tell))
    images = [str(examples / name) for name in ("street.png", "facade.jpg")]
    assert main(["segment", *images, "--model", small, "--out", str(out), "--json"]) == 130
    line = capsys.readouterr().err.replace("\r", "\n").splitlines()[-1]
    assert re.search("1 of 2 images.*--skip-existing.*coco.json", line)
    assert files(out) == ["street_coco.json", "street_labels.png", "street_overlay.jpg"]


def test_names_reach_the_terminal_without_control_characters(examples, tmp_path, out, capsys):
    names = ["a\x1b]0;title\x07.png", "b\nsrzoo: forged.png", "c\x1b[31m.png"]
    for name in names[:2]:
        shutil.copy(examples / "street.png", tmp_path / name)
    (tmp_path / names[2]).write_text("no image")
    assert main(["segment", *(str(tmp_path / name) for name in names), "--out", str(out)]) == 2
    printed = "".join(capsys.readouterr())
    assert "\x1b" not in printed and "\x07" not in printed and "\nsrzoo: forged" not in printed
    assert "\\x1b]0;title" in printed and "\\x1b[31m.png: not an image" in printed
    assert len(files(out)) == 4


def test_results_get_names_that_a_file_may_have():
    stems = unique_stems(["é" * 120 + ".png", "a?b.png", "http://h/a%2Fb%00.png?x", "http://h/", "HTTP://h/x.png?v"])
    assert list(stems.values()) == ["é" * 100, "a?b", "b\\x00", "image", "x"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network of a few channels, for tests of what is read and written."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    network = {"backbone": "test_efficientnet", "num_classes": 5, "channels": 32, "output_stride": 16}
    srzoo.save_model(srzoo.create_model("srnet", **network), path)
    return str(path)


@pytest.fixture
def album(tmp_path, write_image):
    """Images in sub-folders, with names that occur twice, and files that are no images to segment."""
    root = tmp_path / "album"
    for name in ("x.png", "a/x.png", "a/b/x.png", "a/b/y.jpg", ".cache/z.png", "._x.png", "x_labels.png"):
        write_image(root / name, 40, 60)
    (root / "a" / "notes.txt").touch()
    (root / "list.csv").touch()
    return root


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_left_out_of_a_folder_is_told(album, small, out, capsys):
    (album / "gone.png").symlink_to(album / "nowhere.png")
    assert main(["segment", str(album), "--model", small, "--out", str(out)]) == 0
    assert tree(out) == ["x_labels.png", "x_overlay.jpg"]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    for part in (
        r"1 file of other kinds \(\.csv\)",
        "1 named as images .*broken links",
        "1 file named as results",
        "2 hidden",
        "1 sub-folder .--recursive",
    ):
        assert re.search(part, line)
    (album / "x.png").unlink()
    assert main(["segment", str(album), "--model", small, "--out", str(out)]) == 2
    assert re.search("no images.*1 sub-folder.*--recursive", capsys.readouterr().err)


def test_sub_folders_keep_their_names(album, small, capsys):
    """The folder of the results lies in that of the images, and is not read the second time."""
    for _ in range(2):
        assert main(["segment", str(album), "-r", "--model", small, "--out", str(album / "out"), "--json"]) == 0
        printed = capsys.readouterr().out
        assert "4 of 4 images" in printed and re.search(
            r"left out: 2 files of other kinds \(\.txt, \.csv\)|csv, .txt", printed
        )
    found = tree(album / "out")
    assert [name for name in found if name.endswith("_labels.png")] == [
        "a/b/x_labels.png",
        "a/b/y_labels.png",
        "a/x_labels.png",
        "x_labels.png",
    ]
    content = json.loads((album / "out" / "coco.json").read_text())
    assert [(each["id"], each["file_name"]) for each in content["images"]] == [
        (1, "x.png"),
        (2, "a/x.png"),
        (3, "a/b/x.png"),
        (4, "a/b/y.jpg"),
    ]
    annotations = content["annotations"]
    assert [each["id"] for each in annotations] == [*range(1, len(annotations) + 1)]
    assert {each["image_id"] for each in annotations} == {1, 2, 3, 4} and len(content["categories"]) == 5
    with Image.open(album / "out/a/b/y_labels.png") as labels:
        assert sum(each["area"] for each in annotations if each["image_id"] == 4) == labels.width * labels.height


def test_the_file_of_all_annotations_is_read_as_a_dataset(album, small, out):
    from pycocotools.coco import COCO

    assert main(["segment", str(album), "--recursive", "--model", small, "--out", str(out), "--json"]) == 0
    coco = COCO(out / "coco.json")
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        name = Path(coco.imgs[annotation["image_id"]]["file_name"]).with_suffix("")
        with Image.open(out / f"{name}_labels.png") as labels:
            assert ((np.asarray(labels) == annotation["category_id"] - 1) == mask).all()


def test_the_same_command_resumes(album, small, out, capsys):
    command = ["segment", str(album), "--recursive", "--model", small, "--out", str(out), "--skip-existing"]
    assert main(command) == 0
    (out / "a" / "x_overlay.jpg").unlink()
    times = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    capsys.readouterr()
    assert main(command) == 0
    assert "1 of 4 images segmented, 3 skipped" in (printed := capsys.readouterr().out) and "a/x.png ->" in printed
    changed = {name for name in tree(out) if (out / name).stat().st_mtime_ns != times.get(name)}
    assert changed == {"a/x_labels.png", "a/x_overlay.jpg"}
    assert main([*command, "--json"]) == 0  # the results lack a file
    assert "4 of 4 images segmented\n" in capsys.readouterr().out


def test_a_result_of_another_image_is_not_taken_for_done(small, out, tmp_path, write_image, capsys):
    """x.jpg, which came later, gets another name than x.png has, whose result stays."""
    folder, command = tmp_path / "in", ["segment", str(tmp_path / "in"), "--model", small, "--out", str(out)]
    write_image(folder / "x.png", 40, 60)
    assert main(command) == 0
    write_image(folder / "x.jpg", 64, 32)
    assert main([*command, "--skip-existing"]) == 0
    assert "1 of 2 images segmented, 1 skipped" in capsys.readouterr().out
    sizes = {}
    for name in ("x_labels.png", "x-2_labels.png"):
        with Image.open(out / name) as labels:
            sizes[name] = labels.size
    assert sizes == {"x_labels.png": (60, 40), "x-2_labels.png": (32, 64)}


def test_a_foreign_file_is_not_replaced(small, tmp_path, write_image, capsys):
    """An annotation beside the images; the other images go on."""
    for name in ("x.png", "y.png"):
        write_image(tmp_path / name, 40, 60)
    mask = write_image(tmp_path / "x_labels.png", 40, 60).read_bytes()
    for options in ([], ["--skip-existing"]):
        assert main(["segment", str(tmp_path), "--model", small, "--out", str(tmp_path), *options]) == 2
        assert re.search(r"x_labels\.png exists.*no result of srzoo", error := capsys.readouterr().err)
        assert "1 of 2 inputs failed" in error
    assert (tmp_path / "x_labels.png").read_bytes() == mask
    assert files(tmp_path) == ["x.png", "x_labels.png", "y.png", "y_labels.png", "y_overlay.jpg"]
    (tmp_path / "coco.json").write_text("{}")
    assert main(["segment", str(tmp_path / "y.png"), "--model", small, "--out", str(tmp_path), "--json"]) == 2
    assert "coco.json exists" in capsys.readouterr().err


def test_how_results_are_drawn(small, out, tmp_path, write_image, capsys):
    path = str(write_image(tmp_path / "x.png", 40, 60))
    assert main(["segment", path, "--model", small, "--out", str(out), "--gray", "--legend", "--alpha", "0"]) == 0
    with Image.open(out / "x_labels.png") as labels, Image.open(out / "x_overlay.jpg") as overlay:
        assert labels.mode == "L" and np.asarray(labels).max() < 5
        assert overlay.height > 40
        original = np.asarray(Image.open(path).resize((15, 10), Image.Resampling.BOX)).astype(int)
        shown = np.asarray(overlay.crop((0, 0, 60, 40)).resize((15, 10), Image.Resampling.BOX))
        assert np.abs(shown - original).mean() < 8
    assert main(["segment", path, "--model", small, "--out", str(out), "--alpha", "1.5"]) == 2
    assert re.search("alpha .*0.* 1.*1.5", capsys.readouterr().err)


def test_processes_share_the_images(album, small, tmp_path, run_python):
    """A broken image fails in one process, the others go on, and the status of all is 2; then a second run resumes."""
    (album / "a" / "broken.png").write_bytes(b"no image")
    out = tmp_path / "out"
    program = [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "srzoo", "segment"),
        *(str(album), "--recursive", "--model", small, "--out", str(out), "--json", "--skip-existing"),
    ]
    first = run_python(*program, env={"OMP_NUM_THREADS": "1"})
    assert first.returncode != 0 and first.stderr.count("broken.png: not an image") == 1
    assert first.stderr.count("1 of 5 inputs failed") == 1 and first.stdout.count("4 of 5 images segmented") == 1
    assert re.findall(r"exitcode +: (\d+)", first.stderr) in (["2"], ["2", "2"])
    assert len([name for name in tree(out) if name.endswith("_labels.png")]) == 4
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 4
    (album / "a" / "broken.png").unlink()
    (out / "x_labels.png").unlink()
    second = run_python(*program, env={"OMP_NUM_THREADS": "1"})
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("1 of 4 images segmented, 3 skipped") == 1
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 4


def test_no_folder_is_left_where_nothing_was_segmented(tmp_path, capsys):
    bad = tmp_path / "a.png"
    bad.write_text("no image")
    for paths in ([str(bad)], [str(tmp_path / "missing.png")]):
        assert main(["segment", *paths, "--out", str(tmp_path / "out")]) == 2
        assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    assert main(["segment", str(bad), "--out", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine").is_dir()
