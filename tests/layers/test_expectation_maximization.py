import torch

from srzoo.layers import ExpectationMaximizationAttention


def expectation_maximization(pixels, bases, iterations):
    """The algorithm for one image, one pixel and one basis at a time: pixels are ``(P, C)``, bases ``(K, C)``."""
    for _ in range(iterations):
        responsibilities = []
        for pixel in pixels:
            scores = torch.stack([(pixel @ basis).exp() for basis in bases])
            responsibilities.append(scores / scores.sum())
        z = torch.stack(responsibilities)
        means = [sum(weight * pixel for weight, pixel in zip(column, pixels)) / column.sum() for column in z.T]
        bases = torch.stack([mean / mean.norm() for mean in means])
    return z, bases


def test_agrees_with_the_algorithm_in_a_loop():
    torch.manual_seed(0)
    module = ExpectationMaximizationAttention(6, bases=4, iterations=3, momentum=0.75).double()
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    before = module.bases.clone()
    images, ends = [], []
    for image in module.reduce(x).flatten(2).mT:
        z, bases = expectation_maximization(image, before.T, 3)
        images.append((z @ bases).T)
        ends.append(bases.T)
    rebuilt = torch.relu(torch.stack(images))
    module.eval()
    torch.testing.assert_close(module(x), torch.relu(x + module.project(rebuilt).view_as(x)), rtol=1e-5, atol=1e-5)
    assert torch.equal(module.bases, before), "evaluation moved the bases"
    module.train()(x)
    expected = 0.75 * before + 0.25 * torch.stack(ends).mean(0)
    torch.testing.assert_close(module.bases, expected, rtol=1e-5, atol=1e-5)


def test_bases_find_the_clusters():
    """With two distant groups of pixels, each has its own basis after some batches."""
    torch.manual_seed(0)
    module = ExpectationMaximizationAttention(8, bases=2, momentum=0.5)
    torch.nn.init.eye_(module.reduce.weight.data.flatten(1))
    torch.nn.init.zeros_(module.reduce.bias)
    centres = 8 * torch.eye(8)[[1, 6]]
    for _ in range(20):
        belonging = torch.randint(2, (1, 10, 10))
        module(centres[belonging].permute(0, 3, 1, 2) + 0.1 * torch.randn(1, 8, 10, 10))
    similarity = torch.nn.functional.cosine_similarity(module.bases.T[:, None], centres[None], dim=2)
    assert similarity.amax(1).min() > 0.99
    assert similarity.argmax(1).unique().numel() == 2
