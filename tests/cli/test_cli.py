import pytest

from srzoo import list_models
from srzoo.cli import main


def test_list_shows_every_name(capsys):
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list_models()


def test_list_pretrained_shows_the_figure(capsys):
    assert main(["list", "--pretrained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list_models(pretrained=True)
    assert all("val mIoU" in line for line in lines)


def test_list_says_where_no_weights_ship(capsys):
    assert main(["list", "srnet_wrn38_a*"]) == 0
    assert capsys.readouterr().out.split("  ")[-1] == "no published weights\n"


def test_list_without_a_match(capsys):
    assert main(["list", "nothing*"]) == 2
    assert "no model matches 'nothing*'" in capsys.readouterr().err


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


def test_info_without_weights(capsys):
    assert main(["info", "srnet_r50_cityscapes"]) == 0
    printed = capsys.readouterr().out
    assert "none published" in printed
    assert "srzoo train --recipe srnet_r50_cityscapes" in printed
    assert main(["info", "srnet"]) == 0


def test_info_of_an_unknown_name(capsys):
    assert main(["info", "srnet_r51"]) == 2
    assert "did you mean 'srnet_r50'" in capsys.readouterr().err


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


def test_module_runs_as_a_program(run_python):
    result = run_python("-m", "srzoo", "info", "nonsense")
    assert result.returncode == 2
    assert result.stderr.startswith("srzoo: unknown model 'nonsense'")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("split", "part"), [("test", "no folder"), ("trainannot", "unknown split")])
def test_eval_without_the_split(split, part, small_camvid, capsys):
    command = ["eval", "--model", "srnet_lite0_camvid", "--data.root", str(small_camvid), "--split", split]
    assert main(command) == 2
    assert part in capsys.readouterr().err


def test_train_with_an_unknown_recipe(capsys):
    assert main(["train", "--recipe", "nope", "--data.root", "x"]) == 2
    assert "no recipe 'nope'; give a YAML file, a model with its dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--data.root", "x", "--num_classes", "x"],
            "argument --num_classes: invalid int value: 'x'; `srzoo tr",
        ),
        (["eval", "--scale", "1"], "required: --model, --data.root; `srzoo eval --help` shows the options"),
        (["data", "check", "x", "--workers", "x"], "invalid int value: 'x'; `srzoo data check --help`"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([], "required: COMMAND; `srzoo --help`"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("srzoo: ") and message in line


def test_no_memory_is_told_in_one_line(monkeypatch, capsys):
    def too_much(options):
        raise MemoryError

    monkeypatch.setattr("srzoo.cli.listing.run", too_much)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "srzoo: not enough memory; take smaller images, crops, batches or scales\n"
