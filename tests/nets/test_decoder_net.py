"""The decoder: causal, rotary, and the same with a cache as without."""

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.nets.decoder import Decoder, Shape, rope_tables, rotate


def net(seed: int = 0, *, kv_heads: int = 2, tied: bool = False) -> Decoder:
    """A small decoder with 13 tokens, in evaluation, whose logits are far apart."""
    torch.manual_seed(seed)
    module = Decoder(
        Shape(
            vocab=13,
            context=12,
            width=32,
            layers=2,
            heads=4,
            kv_heads=kv_heads,
            hidden=48,
            qk_norm=seed % 2 == 0,
            tied=tied,
        )
    )
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(5) if weight.dim() > 1 else None
    return module.eval()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(1, 11), st.sampled_from([1, 2, 4]))
def test_a_later_token_never_changes_earlier_logits(seed: int, place: int, kv_heads: int) -> None:
    module = net(seed, kv_heads=kv_heads)
    tokens = torch.randint(13, (2, 12))
    changed = tokens.clone()
    changed[:, place:] = (changed[:, place:] + 1) % 13

    before, after = module(tokens), module(changed)

    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.equal(before[:, place:], after[:, place:])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_tokens_in_any_pieces_give_the_logits_of_the_whole(seed: int, pieces: list[int]) -> None:
    module = net(seed)
    tokens = torch.randint(13, (2, sum(pieces)))
    cache = module.new_cache()

    with torch.no_grad():
        whole = module(tokens)
        parts = [module(piece, cache) for piece in tokens.split(pieces, 1)]

    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
    assert cache[0].length == sum(pieces)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_rotary_scores_depend_on_the_distance_only(first: int, second: int, shift: int) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 16)

    def score(place: int, other: int) -> torch.Tensor:
        return rotate(q, table(place)) @ rotate(k, table(other)).T

    def table(place: int) -> tuple[torch.Tensor, torch.Tensor]:
        return rope_tables(torch.tensor([place]), 16, 10_000.0)

    # float32 angles up to 1000 carry errors up to 1000 * 2^-24 = 6e-5, and 16 products are summed
    torch.testing.assert_close(
        score(first, second), score(first + shift, second + shift), rtol=0, atol=1e-3
    )


def test_a_cast_module_still_rotates_by_exact_angles() -> None:
    cos, _ = rope_tables(torch.tensor([1001]), 64, 10_000.0)

    module = net().to(torch.bfloat16)

    assert cos.dtype == torch.float32
    assert not list(module.buffers())
    assert module(torch.randint(13, (1, 12))).dtype == torch.bfloat16


def test_a_tied_embedding_is_the_head_and_is_stored_once() -> None:
    tied, untied = net(tied=True), net()

    names = set(tied.state_dict())

    assert names == set(untied.state_dict()) - {"lm_head.weight"}
    doubled = {**tied.state_dict(), "lm_head.weight": tied.model.embed_tokens.weight}
    tied.load_state_dict(doubled)


def test_attention_within_documents_answers_as_if_each_stood_alone() -> None:
    """Parity: a packed window, its documents one by one, and decoding with a cache."""
    plain = net()
    module = Decoder(replace(plain.shape, end=0)).eval()
    module.load_state_dict(plain.state_dict())
    first, second = torch.tensor([[0, 5, 3, 9]]), torch.tensor([[0, 7, 7, 1, 2]])
    packed = torch.cat([first, second], 1)

    together = module(packed)
    cache = module.new_cache()
    stepped = torch.cat([module(packed[:, i : i + 3], cache) for i in (0, 3, 6)], 1)

    torch.testing.assert_close(together[:, :4], plain(first), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[:, 4:], plain(second), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(stepped, together, atol=1e-5, rtol=1e-5)
