import math

import pytest
import torch

from jielong.model.config import RopeConfig
from jielong.model.kv_cache import KVCache
from jielong.model.positions import AT_FIRST, Rotary, frequencies_of, sinusoids
from tests.tiny import config, decoder, random_ids


def test_sinusoids_by_hand() -> None:
    """C = 4: channels 0, 1 turn by p and channels 2, 3 by p / 100."""
    table = sinusoids(8, 4)
    expected = [math.sin(5.0), math.cos(5.0), math.sin(0.05), math.cos(0.05)]
    torch.testing.assert_close(table[5], torch.tensor(expected))


def test_linear_scaling_puts_twice_the_positions_in_one_turn() -> None:
    plain, _ = frequencies_of(RopeConfig(base=100.0), 8)
    slow, sharpen = frequencies_of(RopeConfig(base=100.0, scaling="linear", factor=2.0), 8)
    torch.testing.assert_close(slow, plain / 2)
    assert sharpen == 1.0


def test_local_layers_have_their_own_base_and_are_not_stretched() -> None:
    rope = RopeConfig(base=1e6, local_base=100.0, scaling="linear", factor=8.0)
    local, _ = frequencies_of(rope, 8, local=True)
    torch.testing.assert_close(local, frequencies_of(RopeConfig(base=100.0), 8)[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": 0.0}, "base: 0.0: must be above 0"),
        ({"scaling": "yarn", "factor": 4.0}, "original_context: 0: yarn needs"),
        (
            {"scaling": "llama3", "original_context": 64, "low_frequency_factor": 4.0},
            "low_frequency_factor: 4.0: must be below",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        RopeConfig(**settings)


@pytest.mark.parametrize("positions", ["rotary", "learned", "sinusoidal"])
def test_a_document_in_a_shared_row_is_as_it_is_alone(positions: str) -> None:
    model = decoder(positions=positions)
    first, second = random_ids(1, 7), random_ids(1, 5, seed=1)
    documents = torch.tensor([[0] * 7 + [1] * 5])
    shared = model(torch.cat([first, second], dim=1), documents=documents)
    torch.testing.assert_close(shared[:, :7], model(first), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shared[:, 7:], model(second), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_added_positions_matter_and_padding_does_not_count(positions: str) -> None:
    model, ids = decoder(positions=positions), random_ids(1, 6)
    twice = ids[:, :1].expand(1, 6)  # one token again and again: only its place can tell
    assert (model.hidden(twice)[0, 1] - model.hidden(twice)[0, 4]).abs().max() > 1e-2
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), ids], dim=1)
    is_token = torch.arange(9)[None] >= 3
    torch.testing.assert_close(
        model(padded, is_token=is_token)[:, 3:], model(ids), atol=1e-5, rtol=1e-5
    )


SPOKEN = torch.tensor([[9, 9, 7, 9, 9, 8, 9, 7]])


def test_speakers_are_told_apart_through_the_cache() -> None:
    """7 opens a turn of the first speaker, 8 of the second; before any nobody speaks."""
    model = decoder(segments=3, turn_ids=(7, 8))
    ids = SPOKEN
    given = model.hidden(ids, segments=torch.tensor([[0, 0, 1, 1, 1, 2, 2, 1]]))
    torch.testing.assert_close(model.hidden(ids), given)
    assert (given - model.hidden(ids, segments=torch.zeros_like(ids))).abs().max() > 1e-2
    cache = KVCache(model.config, 1, 8)
    pieces = [model.hidden(ids[:, a:b], cache=cache) for a, b in ((0, 3), (3, 6), (6, 8))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), given, atol=1e-5, rtol=1e-5)


def test_nobody_speaks_on_in_the_next_document() -> None:
    model = decoder(segments=2, turn_ids=(7, 8))
    documents = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    given = torch.tensor([[0, 0, 1, 1, 0, 0, 0, 1]])  # two segments: 8 is in 2 modulo 2
    found = model.hidden(SPOKEN, documents=documents)
    torch.testing.assert_close(found, model.hidden(SPOKEN, documents=documents, segments=given))
    for part in (slice(0, 4), slice(4, 8)):
        alone = model.hidden(SPOKEN[:, part])
        torch.testing.assert_close(found[:, part], alone, atol=1e-5, rtol=1e-5)


def test_positions_need_no_parameters_unless_they_are_learned() -> None:
    def names(**changes: object) -> set[str]:
        return {name for name, _ in decoder(**changes).named_parameters() if "position" in name}

    assert names() == names(positions="sinusoidal") == names(positions="none") == set()
    assert names(positions="learned") == {"position_embedding.weight"}
    assert config(positions="none", width=20).head_dim == 5  # rotary needs even heads, others not


def test_angles_are_found_as_far_as_they_are_asked_for() -> None:
    """A context of any length costs nothing; beyond the first table it is the same function."""
    rotary = Rotary(config(context=10**12))
    assert len(rotary.cos) == AT_FIRST
    far = torch.tensor([0, AT_FIRST - 1, AT_FIRST, 3 * AT_FIRST])
    cos, sin = rotary(far, 3 * AT_FIRST + 1)
    slowest = rotary.frequencies[-1] * far.double()
    torch.testing.assert_close(cos[0, :, -1], slowest.cos().float())
    torch.testing.assert_close(sin[0, :, -1], slowest.sin().float())
    assert 3 * AT_FIRST < len(rotary.cos) < 4 * AT_FIRST
