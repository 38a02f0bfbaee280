import torch
from safetensors.torch import load, save

from jielong.model.encoder_decoder import EncoderDecoder, shift_right
from jielong.model.kv_cache import KVCache
from tests.tiny import encoder_decoder, random_ids


def test_cached_decoding_equals_the_full_forward() -> None:
    model, source, target = encoder_decoder(), random_ids(3, 7), random_ids(3, 10, seed=1)
    full = model(source, target)
    memory, cache = model.encode(source), KVCache(model.config, 3, 10)
    places = [(0, 4), *((t, t + 1) for t in range(4, 10))]
    pieces = [model.hidden(target[:, a:b], memory=memory, cache=cache) for a, b in places]
    cached = model.logits(torch.cat(pieces, dim=1))
    torch.testing.assert_close(cached, full, atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing_on_either_side_of_a_source() -> None:
    model, source, target = encoder_decoder(), random_ids(2, 7), random_ids(2, 5, seed=1)
    plain = model(source, target)
    pads, is_pad = torch.full((2, 3), 9), torch.zeros(2, 3, dtype=torch.bool)
    real = torch.ones_like(source, dtype=torch.bool)
    for order in ([(pads, is_pad), (source, real)], [(source, real), (pads, is_pad)]):
        rows, is_token = (torch.cat(pair, dim=1) for pair in zip(*order, strict=True))
        padded = model(rows, target, source_is_token=is_token)
        torch.testing.assert_close(padded, plain, atol=1e-5, rtol=1e-5)


def test_a_target_sees_the_whole_source_and_nothing_later_of_itself() -> None:
    model, source, target = encoder_decoder(), random_ids(1, 6), random_ids(1, 6, seed=1)
    before = model(source, target)
    for place in range(6):
        other = source.clone()
        other[0, place] = (source[0, place] - 6 + 1) % 17 + 6
        assert (model(other, target) - before).abs().amax(-1).min() > 1e-5
        other = target.clone()
        other[0, place] = (target[0, place] - 6 + 1) % 17 + 6
        moved = (model(source, other) - before).abs().amax(-1)[0] > 1e-5
        assert moved.tolist() == [place <= i for i in range(6)]


def test_targets_are_shifted_right() -> None:
    shifted = shift_right(torch.tensor([[7, 8, 9], [4, 5, 6]]), first=1)
    assert shifted.tolist() == [[1, 7, 8], [1, 4, 5]]


def test_the_shared_embedding_is_kept_once_and_comes_back_twice() -> None:
    model = encoder_decoder(seed=3)
    state = model.state_dict()
    assert [name for name in state if name.endswith("embedding.weight")] == [
        "encoder.embedding.weight"
    ]
    other = EncoderDecoder(model.config)
    other.load_state_dict(load(save(state)))
    assert other.decoder.embedding is other.encoder.embedding
    source, target = random_ids(1, 4), random_ids(1, 4, seed=1)
    assert torch.equal(other.eval()(source, target), model(source, target))
