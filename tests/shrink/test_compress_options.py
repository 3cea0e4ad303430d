"""What `zafu compress` and `zafu compare compression` refuse, before they look at a run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zafu.cli import main
from zafu.shrink import scratch

RUN = "runs/none"


def test_every_fault_of_a_request_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["compress", RUN, "--within", "2x", "--recover", "foo", "--budget", "z"])

    said = capsys.readouterr().err
    assert code == 2
    for option in ("--within", "--target", "--recover", "--budget"):
        assert option in said


def test_options_of_a_search_beside_a_chain_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", RUN, "--how", "int8", "--target", "size"]) == 2
    assert "--target beside --how" in capsys.readouterr().err


def test_options_of_other_questions_are_refused_with_compression(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", "compression", RUN, "--trials", "3", "--recover", "x"]) == 2
    said = capsys.readouterr().err
    assert "--trials" in said
    assert "--recover" in said


def test_matrices_that_read_fewer_inputs_give_outputs_as_large() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(400, 300, bias=False)
    x = torch.randn(64, 100)
    whole = layer(torch.randn(64, 400)).std()
    before = {"weight": layer.weight.shape}
    layer.weight = nn.Parameter(layer.weight[:, :100].clone())

    scratch.scale(layer, before)

    torch.testing.assert_close(layer(x).std(), whole, rtol=0.05, atol=0)  # of random numbers
