from collections import Counter

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


def test_images_are_seen_in_the_ratio_of_their_factors():
    length, factors = 7, [1, 1, 2, 1, 3.5, 1, 1]
    stream = positions(StepBatches(length, 7, 1, range(900), seed=0, factors=factors))
    assert len(set(stream)) == len(stream) == 6300  # an image that comes twice in an epoch is augmented anew
    counts = Counter(position % length for position in stream)
    assert [counts[i] / 900 for i in range(length)] == pytest.approx([f * 7 / 10.5 for f in factors], abs=0.05)
    for epoch in range(900):
        counts = Counter(position % length for position in stream[7 * epoch : 7 * (epoch + 1)])
        assert all(abs(counts[i] - factors[i] * 7 / 10.5) < 1 for i in range(length))


def test_a_run_with_factors_resumes_and_shares_as_without():
    def batches(steps, *args):
        return list(StepBatches(7, 4, 1, steps, 3, *args, factors=[1, 1, 2, 1, 3.5, 1, 1]))

    whole = batches(range(10))
    assert batches(range(4, 10)) == whole[4:]
    shares = [batches(range(10), rank, 2) for rank in range(2)]
    assert [sorted([*a, *b]) for a, b in zip(*shares)] == [sorted(batch) for batch in whole]


def test_equal_factors_show_every_image_once():
    stream = positions(StepBatches(7, 7, 1, range(3), seed=0, factors=[0.1] * 7))
    assert sorted(stream) == list(range(21))
