"""The page, asked over its own HTTP routes on this machine."""

import socket

import numpy as np
import pytest
from PIL import Image

from srzoo.tasks.task import Found

gradio_client = pytest.importorskip("gradio_client")
page_module = pytest.importorskip("srzoo.demo.page")

MODEL = "srnet_lite0_camvid"


@pytest.fixture(scope="module")
def client(request):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    street = request.config.rootpath / "examples" / "street.png"
    page = page_module.make_page([MODEL], [street], "cpu")
    address = page_module.serve(page, "127.0.0.1", port)
    yield gradio_client.Client(address, verbose=False, analytics_enabled=False)
    page.close()


def test_an_image_gets_an_overlay_a_legend_and_files(client, examples):
    image = gradio_client.handle_file(examples / "street.png")
    overlay, legend, files = client.predict(image, MODEL, "whole image", 0.5, api_name="/segment")
    found = page_module.Segmenter(MODEL, "cpu")(examples / "street.png")
    with Image.open(overlay) as shown:
        assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(found.overlay(0.5)))
    line = found.found()[0]
    assert f"<td>{line.name}</td><td>{line.value}</td>" in legend and f"rgb{line.colour}" in legend
    (labels,) = (path for path in files if path.endswith("labels.png"))
    with Image.open(labels) as image:
        assert np.array_equal(np.asarray(image), found.labels)


def test_the_image_is_read_by_srzoo(client, tmp_path):
    """16 bits a channel, and a file that is none, by its name alone."""
    values = np.random.default_rng(0).integers(0, 2**16, (40, 50), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    client.predict(gradio_client.handle_file(tmp_path / "deep.png"), MODEL, "whole image", 0.5, api_name="/segment")
    (tmp_path / "notes.jpg").write_text("no image")
    with pytest.raises(gradio_client.exceptions.AppError, match=r"^notes\.jpg: ") as error:
        client.predict(
            gradio_client.handle_file(tmp_path / "notes.jpg"), MODEL, "whole image", 0.5, api_name="/segment"
        )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tiles", ["tiles of 512", "tiles of 1024"])
def test_tiles(client, examples, tiles):
    image = gradio_client.handle_file(examples / "street.png")
    _, legend, _ = client.predict(image, MODEL, tiles, 0.5, api_name="/segment")
    assert "building" in legend


def test_a_name_in_a_legend_is_no_markup():
    class Result:
        def found(self):
            return [Found("<script>", "1 & 2", (1, 2, 3))]

    legend = page_module.legend(Result())
    assert "&lt;script&gt;" in legend and "<script>" not in legend and "1 &amp; 2" in legend


def test_a_missing_model_is_one_line(capsys):
    from srzoo.cli import main

    assert main(["demo", "--model", "no_such_model"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no_such_model" in line


def test_a_missing_package_is_one_line(monkeypatch, capsys):
    import sys

    from srzoo.cli import main

    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "srzoo.demo.page")
    assert main(["demo"]) == 2
    assert "pip install 'srzoo[demo]'" in capsys.readouterr().err


def test_a_port_in_use_is_one_line(capsys):
    from srzoo.cli import main

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"127.0.0.1:{port}" in line and "--port" in line


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_does_not_exist_is_one_line(port, capsys):
    from srzoo.cli import main

    assert main(["demo", f"--port={port}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "65535" in line and f"got {port}" in line
