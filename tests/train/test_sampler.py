import pytest

from srzoo.train.sampler import StepBatches


def positions(batches):
    return [position for batch in batches for position in batch]


def test_every_epoch_has_every_image_once_in_another_order():
    stream = positions(StepBatches(length=7, batch_size=3, parts=1, steps=range(7), seed=0))
    epochs = [stream[7 * i : 7 * (i + 1)] for i in range(3)]
    for number, epoch in enumerate(epochs):
        assert sorted(epoch) == list(range(7 * number, 7 * (number + 1)))
    assert len({tuple(position % 7 for position in epoch) for epoch in epochs}) == 3
    assert stream != positions(StepBatches(7, 3, 1, range(7), seed=1))


def test_stopped_run_resumes_within_an_epoch():
    whole = list(StepBatches(7, 3, 1, range(10), seed=0))
    assert list(StepBatches(7, 3, 1, range(4, 10), seed=0)) == whole[4:]


@pytest.mark.parametrize(("parts", "world"), [(2, 1), (1, 3), (2, 3)])
def test_parts_and_processes_share_each_step(parts, world):
    whole = list(StepBatches(10, 12, 1, range(5), seed=3))
    shares = [list(StepBatches(10, 12, parts, range(5), 3, rank, world)) for rank in range(world)]
    assert all(len(batch) == 12 // (parts * world) for share in shares for batch in share)
    for step, batch in enumerate(whole):
        seen = [p for share in shares for part in share[step * parts : (step + 1) * parts] for p in part]
        assert sorted(seen) == sorted(batch)


def test_fewer_images_than_the_batch():
    (batch,) = StepBatches(length=2, batch_size=5, parts=1, steps=range(1), seed=0)
    assert len(batch) == 5
    assert {position % 2 for position in batch} == {0, 1}


def test_batch_size_must_be_divisible_by_the_parts():
    with pytest.raises(ValueError, match=r"batch_size=6.* 4 processes.*accumulate=1.* multiple of 4"):
        StepBatches(10, 6, 1, range(1), 0, 0, 4)
