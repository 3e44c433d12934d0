import json
import os
import pydoc
import re
import shlex
import shutil
import warnings

import pytest

import srzoo
from srzoo import list_models
from srzoo.cli import main
from srzoo.recipes.recipe import default_recipe, load_recipe
from srzoo.zoo.published import PUBLISHED
from srzoo.zoo.weights import write_model_file


def test_list_shows_every_name(capsys):
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list_models()


def test_list_pretrained_shows_the_figure(capsys):
    assert main(["list", "--pretrained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list_models(pretrained=True)
    shipped, others = (
        [line for line in lines if "weights ship" in line],
        [line for line in lines if "torchvision" in line],
    )
    assert all(re.search(r" [\d.]+% on val", line) for line in shipped) and len(shipped) == len(PUBLISHED)
    assert len(shipped) + len(others) == len(lines) and not any("%" in line for line in others)


def test_list_of_a_model_without_weights(capsys):
    assert main(["list", "srnet_wrn38_a*"]) == 0
    assert "no published weights" in capsys.readouterr().out


def test_list_without_a_match(capsys):
    assert main(["list", "nothing*"]) == 2
    assert "'nothing*'" in capsys.readouterr().err


def test_info_of_a_published_model(capsys):
    assert main(["info", "srnet_lite0_camvid"]) == 0
    printed = capsys.readouterr().out
    for part in (
        "3.62 M",
        "7.15 G at 720x528",
        "bicyclist",
        "research use",
        "mIoU",
        "single scale",
        "srzoo eval --model",
    ):
        assert part in printed
    assert "not yet measured" not in printed  # on test, as it is


def test_info_says_that_test_is_not_measured(capsys):
    assert main(["info", "srnet_lite0_facade"]) == 0
    assert re.search(r"^on test +not yet measured$", capsys.readouterr().out, re.MULTILINE)


def test_info_without_weights(capsys):
    assert main(["info", "srnet_r50_cityscapes"]) == 0
    printed = capsys.readouterr().out
    assert "none published" in printed
    assert "srzoo train --recipe srnet_r50_cityscapes" in printed
    assert main(["info", "srnet"]) == 0


def test_info_of_an_unknown_name(capsys):
    assert main(["info", "srnet_r51"]) == 2
    assert "'srnet_r50'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--pretrained"]])
def test_quick_commands_import_no_torch(arguments, run_python):
    code = f"""
import sys
from srzoo.cli import main
try:
    main({arguments})
except SystemExit:
    pass
assert "torch" not in sys.modules
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"srzoo {srzoo.__version__}\n"


def test_info_of_a_detector_says_how_its_input_is_made(capsys):
    assert main(["info", "mask_rcnn_r50_coco"]) == 0
    assert re.search("short side 800, long side at most 1333, .*padded to multiples of 32", capsys.readouterr().out)


def test_info_of_a_file(tmp_path, capsys):
    """Of a run, which holds its recipe; and of a model that was saved without one."""
    model = srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=2, channels=32, output_stride=16)
    recipe = default_recipe("srnet_lite0", 40, steps=7, **{"data.root": "my_data"}).to_yaml()
    write_model_file(model.config, model.state_dict(), tmp_path / "run.safetensors", recipe)
    srzoo.save_model(model, tmp_path / "own.safetensors")
    counted = sum(parameter.numel() for parameter in model.parameters())
    for name, words in (("run", "steps 7, .*\n.*my_data"), ("own", "no recipe")):
        path = str(tmp_path / f"{name}.safetensors")
        assert main(["info", path]) == 0
        printed = capsys.readouterr().out
        assert "class 0, class 1" in printed and f"{counted / 1e6:.2f} M" in printed and re.search(words, printed)
        assert main(["info", path, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["parameters"] == counted and facts["classes"] == ["class 0", "class 1"]
        assert (facts["recipe"] is None) == (name == "own")
    assert main(["info", str(tmp_path / "gone.safetensors")]) == 2
    assert "gone.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["srnet_lite0_camvid", "srnet", "srnet_mask_rcnn_r50_coco"])
def test_info_as_json(name, capsys):
    assert main(["info", name, "--json"]) == 0
    facts, info = json.loads(capsys.readouterr().out), srzoo.model_info(name)
    assert (facts["parameters"], facts["multiply_adds"]) == (info.parameters, info.macs)
    assert facts["classes"] == [*info.classes] and facts["transform"]["short_side"] == info.transform.short_side
    if info.metrics:
        assert facts["weights"]["receipts"][0]["figures"] == info.metrics["figures"]


def test_info_of_a_file_prints_commands_for_its_name(tmp_path, capsys):
    file = tmp_path / "my runs" / "street.safetensors"
    file.parent.mkdir()
    shutil.copy(srzoo.model_info("srnet_lite0_camvid").weights.path, file)
    assert main(["info", str(file)]) == 0
    use = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(use) == ["use", "srzoo", "segment", "IMAGE", "--model", str(file)]


def test_recipe_is_printed_as_a_file_that_trains(tmp_path, capsys):
    assert main(["recipe", "cityscapes", "--model", "srnet_r50_cityscapes"]) == 0
    of_dataset = capsys.readouterr().out
    assert main(["recipe", "srnet_r50_cityscapes"]) == 0
    (tmp_path / "own.yaml").write_text(printed := capsys.readouterr().out)
    assert load_recipe(tmp_path / "own.yaml") == load_recipe("srnet_r50_cityscapes")
    assert main(["recipe", str(tmp_path / "own.yaml")]) == 0
    assert capsys.readouterr().out == printed == of_dataset
    assert main(["recipe", "srnet_r50_citiscapes"]) == 2
    assert "'srnet_r50_cityscapes'" in capsys.readouterr().err


def test_help_tells_defaults(capsys):
    for command, words in (
        ("segment", ("(default: 0.5)", "(default: 1.0)", "(default: false)", "(default: image)")),
        ("train", ("(default: adamw)", "(default: 0.9)", "(default: 0.995)")),
    ):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        printed = " ".join(capsys.readouterr().out.split())
        assert all(word in printed for word in words)


def test_without_a_command_the_help_is_shown(capsys):
    assert main([]) == 2
    assert "segment" in capsys.readouterr().err


def test_a_list_of_numbers_does_not_take_a_path(monkeypatch):
    seen = []
    monkeypatch.setattr("srzoo.cli.segment.run", lambda options: seen.append(vars(options)) or 0)
    for words, paths in (
        (["--scales", "0.5", "1", "a.png", "b.png"], ["a.png", "b.png"]),
        (["a.png", "--scales", "0.5", "1"], ["a.png"]),
        (["--scales", "0.5", "1", "a.png", "--alpha", "0.3"], ["a.png"]),
        (["--alpha", "0.3", "--scales", "0.5", "1", "--", "7.png"], ["7.png"]),
    ):
        assert main(["segment", *words]) == 0
        assert (seen[-1]["paths"], seen[-1]["scales"]) == (paths, [0.5, 1])


def test_a_file_that_is_named_as_an_option(tmp_path, monkeypatch, capsys):
    """As a shell's * gives it: with it alone, PATH was said to be missing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("srzoo.cli.segment.run", lambda options: 0)
    for name in ("-a.png", "-1", "--out", "b.png"):
        (tmp_path / name).touch()
    for words in (["-a.png"], ["b.png", "-a.png", "--alpha", "0.3"]):
        with pytest.raises(SystemExit):
            main(["segment", *words])
        assert f".{os.sep}-a.png" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert main(["segment", "--out", "x", "b.png", "--", "-a.png"]) == 0


def test_list_as_json(capsys):
    assert main(["list", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert list(found) == list_models()
    assert found["srnet_lite0_camvid"]["weights"] == "shipped"
    assert 0.7 < found["srnet_lite0_camvid"]["figures"]["mIoU"] < 0.9
    assert found["srnet_r50"]["weights"] is found["srnet_r50"]["classes"] is None


def test_an_option_that_may_have_a_value_does_not_take_a_path(monkeypatch):
    seen = []
    monkeypatch.setattr("srzoo.cli.segment.run", lambda options: seen.append(vars(options)) or 0)
    for words, flip in (
        (["--flip", "a.png"], True),
        (["--flip", "false", "a.png"], False),
        (["a.png", "--flip"], True),
    ):
        assert main(["segment", "-r", *words]) == 0
        assert (seen[-1]["paths"], seen[-1]["flip"]) == (["a.png"], flip)


def test_help_of_the_package_is_short():
    """Two screens, with every public name; nn.Module alone would have a thousand lines."""
    text = pydoc.render_doc(srzoo, renderer=pydoc.plaintext)
    assert len(text.splitlines()) <= 80
    assert all(name in text for name in srzoo._HOME) and set(srzoo._HOME) <= set(dir(srzoo))


def test_tab_completion_shows_public_names_alone():
    assert {name for name in dir(srzoo) if name[0] != "_"} == {*srzoo._HOME, *srzoo._PACKAGES}
    assert {name for name in dir(srzoo.video) if name[0] != "_"} >= {*srzoo.video._HOME}
    assert "import_module" not in dir(srzoo.video)


def test_module_runs_as_a_program(run_python):
    result = run_python("-m", "srzoo", "info", "nonsense")
    assert result.returncode == 2
    assert result.stderr.startswith("srzoo: ") and "'nonsense'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("split", "part"), [("test", "camvid/test"), ("trainannot", "'trainannot'")])
def test_eval_without_the_split(split, part, small_camvid, capsys):
    command = ["eval", "--model", "srnet_lite0_camvid", "--data.root", str(small_camvid), "--split", split]
    assert main(command) == 2
    assert part in capsys.readouterr().err


def test_train_with_an_unknown_recipe(capsys):
    assert main(["train", "--recipe", "nope", "--data.root", "x"]) == 2
    assert re.search("'nope'.*YAML file.*srnet_lite0_camvid.*cityscapes", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--data.root", "x", "--num_classes", "x"],
            "--num_classes: .*'x'; `srzoo train --help`",
        ),
        (["--verison"], "--verison.*'--version'"),
        (["train", "--in_channels", "4"], r"--in_channels; .*--model_options '\{in_channels: "),
        (["train", "--in_chans=4"], r"--in_chans=4; .*--model_options '\{in_channels: "),
        (["train", "--context", "none"], r"--context; .*--model_options '\{context: "),
        (["train", "--hflip"], r"--hflip; .*'--semantic.flip'"),
        (["train", "--zzzz"], r"--zzzz; `srzoo train --help`"),
        (["segment", "a.png", "--flip", "--tile", "64", "b.png"], "unexpected b.png; .*one place"),
        (["eval", "--scale", "1"], r"--model; `srzoo eval --help`"),
        (["data", "check", "x", "--workers", "x"], "--workers: .*'x'; `srzoo data check --help`"),
        (["nonsense"], "'nonsense'.*; `srzoo --help`"),
        (["segmnt", "x.png"], "'segmnt'.*'segment'.*; `srzoo --help`"),
        (["data", "chek", "x"], "'chek'.*'check'.*; `srzoo data --help`"),
        (["export", "x", "--format", "onxx"], "--format 'onxx'.*'onnx'"),
        (["segment", "x.png", "--recursiv_", "--skip-existing"], "--recursiv_.*'--recursive'"),
    ],
)
def test_invalid_command_line_is_one_line_of_error(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("srzoo: ") and re.search(message, line)


def test_out_of_memory_is_one_line_of_error(monkeypatch, capsys):
    def too_much(options):
        raise MemoryError

    monkeypatch.setattr("srzoo.cli.listing.run", too_much)
    assert main(["list"]) == 2
    assert re.fullmatch(r"srzoo: .*memory.*smaller.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("number", "status", "word"), [(2, 130, "interrupted"), (15, 143, "SIGTERM"), (1, 129, "SIGHUP")]
)
def test_a_signal_is_told_and_is_the_exit_status(number, status, word, monkeypatch, capsys):
    class Ended(KeyboardInterrupt):
        signal = number

    def ended(options):
        raise Ended("the same command resumes")

    monkeypatch.setattr("srzoo.cli.listing.run", ended)
    assert main(["list"]) == status
    assert re.fullmatch(f"srzoo: .*{word}; the same command resumes\n", capsys.readouterr().err)


def test_a_tilde_that_the_shell_has_left_is_the_home_folder(monkeypatch, tmp_path):
    """It became a folder of the name ``~``."""
    seen = []
    monkeypatch.setattr("srzoo.cli.segment.run", lambda options: seen.append(options) or 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    main(["segment", "~/x=y.png", "a~/~.png", "--out=~/a=b", "--model", "~/m.safetensors"])
    assert seen[0].paths == [f"{tmp_path}/x=y.png", "a~/~.png"]
    assert (seen[0].out, seen[0].model) == (tmp_path / "a=b", f"{tmp_path}/m.safetensors")
    main(["segment", "x~", "--out=~"])
    assert (seen[1].paths, seen[1].out) == (["x~"], tmp_path)


def test_a_tilde_for_a_key_of_a_recipe_is_null(monkeypatch):
    seen = []
    monkeypatch.setattr("srzoo.cli.train.run", lambda options: seen.append(options) or 0)
    for words in (["--data.id_map=~"], ["--data.id_map", "~"]):
        main(["train", *words])
        assert vars(seen.pop())["data.id_map"] is None


def test_text_from_outside_cannot_control_the_terminal(monkeypatch, capsys):
    def hostile(options):
        warnings.warn("a\x1b]0;t\x07", stacklevel=1)
        raise ValueError("b\x1b[31m" + "x" * 10**6 + "\nforged line")

    monkeypatch.setattr("srzoo.cli.listing.run", hostile)
    assert main(["list"]) == 2
    warned, error = capsys.readouterr().err.splitlines()
    assert (warned, error[:17]) == (r"srzoo: warning: a\x1b]0;t\x07", r"srzoo: b\x1b[31mx") and len(error) < 2100
