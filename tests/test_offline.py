"""Published weights work without a network."""

BLOCK = """
import socket
def refuse(*args, **kwargs): raise OSError("sockets are blocked")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""


def test_segment_and_pretrained_need_no_network(run_python, examples):
    code = f"""{BLOCK}
import srzoo
from srzoo.cli import main
assert srzoo.create_model("srnet_lite0_camvid", pretrained=True).num_classes == 11
srzoo.create_model("srnet_lite0_camvid", pretrained_backbone=True)
srzoo.create_model("srnet_r50_cityscapes")
assert main(["segment", {str(examples / "street.png")!r}]) == 0
assert main(["info", "srnet_r101"]) == 0
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_error_when_imagenet_weights_cannot_be_downloaded(run_python, tmp_path):
    code = f"""{BLOCK}
import srzoo
try:
    srzoo.create_model("srnet_r50", num_classes=3, pretrained_backbone=True)
except RuntimeError as error:
    print(error)
"""
    # HF_HUB_OFFLINE avoids a minute of retries by the hub client; the error is the same.
    result = run_python("-c", code, env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert "'resnet50s'" in result.stdout, result.stderr
    assert "Hugging Face" in result.stdout and "pretrained_backbone='FILE" in result.stdout
