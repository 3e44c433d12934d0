"""PyTorch files as checkpoints are read: every bit of one matters, or does not."""

import zipfile

import pytest
import torch

from srzoo.state_dicts import load_checked, reason


@pytest.mark.slow
def test_every_flipped_bit_is_told_or_does_not_matter(tmp_path):
    path, numbers = tmp_path / "state.pt", torch.arange(3) + 1
    torch.save({"a": numbers, "step": 7}, path)
    content, told = path.read_bytes(), 0
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            state = load_checked(path)
        except Exception as error:
            assert "damaged" in reason(error), bit
            told += 1
        else:
            assert torch.equal(state["a"], numbers) and state["step"] == 7, bit
    assert told > len(content)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_was_packed_again(tmp_path, compression):
    path, packed = tmp_path / "state.pt", tmp_path / "packed.pt"
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", compression) as other:
        other.writestr("state/", b"")  # of the folder, as `zip -r` adds it
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    if compression == zipfile.ZIP_STORED:
        assert torch.equal(load_checked(packed)["a"], torch.ones(2))
    else:
        with pytest.raises(ValueError, match="not written by torch.save: its record .* is compressed"):
            load_checked(packed)
