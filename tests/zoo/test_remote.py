"""Models of a hub and of addresses, from servers on the loopback address."""

import hashlib
import os
import re
import socket
import time

import pytest
import torch

import srzoo
from srzoo.evaluate.receipt import weights_facts
from srzoo.predict import Segmenter
from srzoo.zoo.factory import trained_model
from srzoo.zoo.info import task_of
from srzoo.zoo.remote import is_remote, split_hub_name
from tests.test_web import response, served
from tests.zoo.hub_server import served_hub, use_hub

NAME = "hf-hub:me/street"
OPTIONS = {"backbone": "tf_efficientnet_lite0", "num_classes": 3, "channels": 32, "output_stride": 16}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A small model's file, as bytes."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    srzoo.save_model(srzoo.create_model("srnet", **OPTIONS), path, dtype=torch.float16)
    return path.read_bytes()


@pytest.fixture
def hub(tmp_path, monkeypatch, content):
    """A hub with one model, in place of the usual one, and an empty cache."""
    from huggingface_hub import constants

    with served_hub() as hub:
        hub.files["me/street", "model.safetensors"] = content
        use_hub(monkeypatch, hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The empty folder of files from addresses."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "hub" / "checkpoints"


def equal(model, content, tmp_path):
    (tmp_path / "wanted.safetensors").write_bytes(content)
    wanted = srzoo.load_model(tmp_path / "wanted.safetensors").state_dict()
    return all(torch.equal(value, wanted[key]) for key, value in model.state_dict().items())


def downloads(hub):
    return [each for each in hub.requests if each.startswith("GET") and "/resolve/" in each]


def one_line_of(kind, call, *found):
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    for each in found:
        assert re.search(each, text), text
    return text


def test_every_way_to_a_model_of_a_hub(hub, content, tmp_path, examples):
    assert equal(srzoo.load_model(NAME), content, tmp_path)
    assert equal(srzoo.create_model(NAME, pretrained=True), content, tmp_path)
    assert equal(trained_model(f"{NAME}@main"), content, tmp_path)
    assert task_of(NAME) == "semantic"
    assert weights_facts(NAME)["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert Segmenter(NAME)(examples / "street.png").labels.shape == (360, 480)
    assert len(downloads(hub)) == 1  # then it is in the cache
    with pytest.warns(UserWarning, match="5 classes instead of 3"):
        assert srzoo.create_model(NAME, pretrained=True, num_classes=5).num_classes == 5
    one_line_of(ValueError, lambda: srzoo.create_model(NAME), "pretrained=True")
    one_line_of(ValueError, lambda: srzoo.create_model(NAME, pretrained=True, nodes=3), "me/street", "3")


def test_the_cache_serves_without_a_network(hub, monkeypatch):
    srzoo.load_model(NAME)
    for address in ("http://127.0.0.1:9", "http://nowhere.invalid"):
        use_hub(monkeypatch, address)
        srzoo.load_model(NAME)
        started = time.monotonic()
        one_line_of(RuntimeError, lambda: srzoo.load_model("hf-hub:me/other"), "me/other", "cannot be reached", "cache")
        assert time.monotonic() - started < 8


def test_a_hub_that_does_not_answer(hub, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        one_line_of(RuntimeError, lambda: srzoo.load_model(NAME), "cannot be reached")
        assert time.monotonic() - started < 15


def test_what_a_hub_can_answer_is_one_line(hub, content, capfd):
    hub.files["me/empty", "README.md"] = b"nothing"
    hub.files["me/gated", "model.safetensors"] = content
    hub.gated.add("me/gated")
    plain = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    hub.files["me/other", "model.safetensors"] = len(plain).to_bytes(8, "little") + plain + bytes(4)
    hub.files["me/text", "model.safetensors"] = b"no tensors"
    for name, found in {
        "hf-hub:me/missing": "no such repository",
        f"{NAME}@v2": "no such revision",
        "hf-hub:me/empty": "no model.safetensors",
        "hf-hub:me/gated": "grant",
        "hf-hub:me/other": "no srzoo configuration",
        "hf-hub:me/text": "safetensors",
    }.items():
        one_line_of(ValueError, lambda name=name: srzoo.load_model(name), re.escape(name.partition("@")[0]), found)
    hub.stated = 9 << 40
    one_line_of(ValueError, lambda: srzoo.load_model(NAME), "9,895,604,649,984")
    assert not capfd.readouterr().err


def test_a_transfer_that_breaks_off_is_completed(hub, content, tmp_path, capfd):
    hub.cut = 1
    assert equal(srzoo.load_model(NAME), content, tmp_path)
    assert len(downloads(hub)) == 2  # huggingface_hub asks for the rest alone from 10 MB on
    assert "Error" not in capfd.readouterr().err


def test_a_wrong_hash_is_removed(hub, content, tmp_path):
    hub.corrupt = True
    one_line_of(ValueError, lambda: srzoo.load_model(NAME), "sha256", hashlib.sha256(content).hexdigest()[:12])
    hub.corrupt = False
    assert equal(srzoo.load_model(NAME), content, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:",
        "hf-hub:street",
        "hf-hub:a/b/c",
        "hf-hub:../b",
        "hf-hub:a/..",
        "hf-hub:a/b@",
        "hf-hub:a/b\n",
        "hf-hub:a/b\x1b",
    ],
)
def test_invalid_names(name):
    assert is_remote(name)
    one_line_of(ValueError, lambda: srzoo.load_model(name), "owner/name")


def test_names():
    assert split_hub_name("me/street") == ("me/street", None)
    assert split_hub_name("hf-hub:me/st.re_et-2@refs/pr/1") == ("me/st.re_et-2", "refs/pr/1")
    assert not is_remote("srnet_lite0_camvid") and not is_remote(None)


def test_a_file_by_address_and_hash(cache, content, tmp_path):
    sha256 = hashlib.sha256(content).hexdigest()
    with served(lambda path, connection: connection.sendall(response(content, Content_Length=len(content)))) as (
        at,
        seen,
    ):
        for end in (sha256, sha256[:8]):
            source = f"{at}/models/model.safetensors?download=true#sha256={end}"
            for _ in range(2):
                assert equal(srzoo.load_model(source), content, tmp_path)
                assert equal(srzoo.create_model(source, pretrained=True), content, tmp_path)
            assert task_of(source) == "semantic"
        assert len(seen) == 2
        wrong = f"{at}/model.safetensors#sha256={'0' * 64}"
        one_line_of(ValueError, lambda: srzoo.load_model(wrong), sha256[:12], "0" * 12)
        one_line_of(ValueError, lambda: srzoo.load_model(f"{at}/model.safetensors"), "#sha256=")
    assert sorted(path.name.partition("-")[0] for path in cache.iterdir()) == sorted([sha256[:16], sha256[:8]])
    one_line_of(
        RuntimeError,
        lambda: srzoo.load_model(f"http://user:secret@127.0.0.1:9/m.safetensors#sha256={sha256}"),
        "127.0.0.1",
    )


def test_an_address_is_resumed(cache, content, tmp_path):
    sha256, half = hashlib.sha256(content).hexdigest(), len(content) // 2

    def answer(path, connection):
        start = re.search(r"Range: bytes=(\d+)-", seen[-1], re.I)
        first = int(start[1]) if start else 0
        ranged = {"Content_Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if start else {}
        body = content[first:] if start else content[:half]
        status = "206 Partial Content" if start else "200 OK"
        connection.sendall(response(body, status, Content_Length=len(content) - first, **ranged))

    with served(answer) as (at, seen):
        source = f"{at}/model.safetensors#sha256={sha256}"
        one_line_of(RuntimeError, lambda: srzoo.load_model(source), f"{half:,} of {len(content):,}")
        assert [path.suffix for path in cache.iterdir()] == [".resume"]
        assert equal(srzoo.load_model(source), content, tmp_path)
        assert f"bytes={half}-" in seen[1]
    assert len(os.listdir(cache)) == 1


def test_a_server_without_ranges_sends_all_again(cache, content, tmp_path):
    sha256, half = hashlib.sha256(content).hexdigest(), len(content) // 2

    def answer(path, connection):
        body = content[:half] if len(seen) == 1 else content
        connection.sendall(response(body, Content_Length=len(content)))

    with served(answer) as (at, seen):
        source = f"{at}/model.safetensors#sha256={sha256}"
        one_line_of(RuntimeError, lambda: srzoo.load_model(source), "transfer ended")
        assert equal(srzoo.load_model(source), content, tmp_path)


def test_a_longer_leftover_than_the_file_starts_anew(cache, content, tmp_path):
    sha256 = hashlib.sha256(content).hexdigest()

    def answer(path, connection):
        if "range:" in seen[-1].lower():
            connection.sendall(response(b"", "416 Range Not Satisfiable", Content_Length=0))
        else:
            connection.sendall(response(content, Content_Length=len(content)))

    with served(answer) as (at, seen):
        cache.mkdir(parents=True)
        (cache / f".{sha256[:16]}-model.safetensors.{sha256[:8]}.resume").write_bytes(bytes(len(content) + 5))
        assert equal(srzoo.load_model(f"{at}/model.safetensors#sha256={sha256}"), content, tmp_path)
        assert len(seen) == 2
