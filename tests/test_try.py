"""The page that runs a model in the browser, in a headless Chromium where there is one."""

import re
import runpy
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import srzoo

TRY = Path(__file__).parents[1] / "docs" / "try"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def served():
    """Serve a folder on this machine; returns the address."""
    servers = []

    def serve(folder: Path) -> str:
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()


def document(address: str) -> str:
    """What a page has become when its scripts have run."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=100000", "--dump-dom"]
    return subprocess.run([CHROMIUM, *options, address], capture_output=True, text=True, timeout=300).stdout


def test_a_detector_is_refused(tmp_path):
    build = runpy.run_path(str(TRY / "build.py"))
    model = srzoo.create_model("mask_rcnn_lite0", num_classes=2)
    srzoo.save_model(model, tmp_path / "detector.safetensors")
    with pytest.raises(ValueError, match=r"instance.*semantic"):
        build["network"](str(tmp_path / "detector.safetensors"), tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM or not shutil.which("npm"), reason="needs Chromium and npm")
def test_the_page_finds_what_the_model_finds(served, examples, tmp_path):
    build = runpy.run_path(str(TRY / "build.py"))
    assert build["main"](["--out", str(tmp_path)]) == 0
    shutil.copy(examples / "street.png", tmp_path)
    (tmp_path / "text.png").write_text("no image")
    address = served(tmp_path)
    shown = document(f"{address}/?image=street.png")
    assert "run at 720x528" in shown
    rows = dict(re.findall(r"<td>(\w+)</td><td>([\d.]+)%</td>", shown))
    wanted = srzoo.Segmenter("srnet_lite0_camvid", "cpu")(examples / "street.png").shares()
    # The browser's resampling is not Pillow's.
    assert all(abs(float(rows[name]) - 100 * share) < 0.5 for name, share in wanted.items() if share > 0.002)
    assert "not an image" in document(f"{address}/?image=text.png")
    assert "not beside this page" in document(f"{address}/?image=http://127.0.0.2/x.png")
