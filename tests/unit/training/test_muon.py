import numpy as np
import pytest
import torch

from jielong.training.muon import Muon, orthogonalise


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Five rounds on the singular values alone: s -> a s + b s^3 + c s^5 (Jordan, 2024)."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ np.diag(values) @ right


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_it_acts_on_singular_values_alone(shape: tuple[int, int]) -> None:
    stack = random(3, *shape)
    expected = np.stack([newton_schulz(matrix.double().numpy()) for matrix in stack])
    np.testing.assert_allclose(orthogonalise(stack).numpy(), expected, atol=1e-5)


def test_all_singular_values_end_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalise(random(2, 16, 16)))
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert not orthogonalise(torch.zeros(1, 3, 3)).any()


@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_low_rank_stay_bounded(rank: int, dtype: torch.dtype) -> None:
    """The rounds multiply small errors; what is orthogonal to the gradient must stay out."""
    low = (random(160, rank) @ random(rank, 448, seed=1)).to(dtype)
    found = orthogonalise(low[None])
    assert found.dtype == dtype
    expected = newton_schulz(low.double().numpy())
    np.testing.assert_allclose(
        found[0].double().numpy(), expected, atol=2e-2 if rank == 1 else 2e-3
    )
    assert torch.linalg.matrix_norm(found[0].float(), 2) < 1.3


def test_two_steps_by_the_formula() -> None:
    """m <- b m + (1 - b) g;  w <- (1 - lr d) w - lr sqrt(max(1, rows/cols)) O(b m + (1 - b) g)."""
    start, first, second = random(3, 8, 3).double().numpy()
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = Muon([parameter], lr=0.1, momentum=0.9, weight_decay=0.2)
    expected, momentum = start, np.zeros((8, 3))
    for gradient in (first, second):
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        step = newton_schulz(0.9 * momentum + 0.1 * gradient)
        expected = (1 - 0.1 * 0.2) * expected - 0.1 * (8 / 3) ** 0.5 * step
    np.testing.assert_allclose(parameter.detach().numpy(), expected, atol=1e-6)


def test_matrices_of_one_shape_move_as_each_alone() -> None:
    together = [torch.nn.Parameter(random(4, 6, seed=i)) for i in range(3)]
    alone = [torch.nn.Parameter(p.detach().clone()) for p in together]
    gradients = [random(4, 6, seed=10 + i) for i in range(3)]
    optimizers = [Muon(together, lr=0.1), *(Muon([p], lr=0.1) for p in alone)]
    for parameters in (together, alone):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
    for optimizer in optimizers:
        optimizer.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_a_matrix_without_a_gradient_stays() -> None:
    moved, still = (torch.nn.Parameter(random(3, 3)) for _ in range(2))
    moved.grad = random(3, 3, seed=1)
    Muon([moved, still], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, random(3, 3))
    assert not torch.equal(moved, random(3, 3))
