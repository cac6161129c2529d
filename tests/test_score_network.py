"""The network score: its shape, its preconditioning, and the reference implementation that it must agree with."""

import math
import re

import pytest
import torch

from scoretomo.denoisers.network import (
    NETWORKS,
    NetworkScore,
    PreconditionedUNet,
    Preconditioning,
    UNet,
    architecture_for,
    noise_level_weight,
)

PARAMETERS = {"paper": 3_939_393, "paper-ribosome": 5_344_737}
RESNET = {
    "conv1": "conv1",
    "conv2": "conv2",
    "norm1": "norm1",
    "norm2": "norm2",
    "time_emb_proj": "label",
    "conv_shortcut": "shortcut",
}
ATTENTION = {"group_norm": "norm", "to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "out"}


def our_name(theirs: str) -> str:
    """The name that a parameter of diffusers' UNet2DModel has in our UNet."""
    for old, new in (("conv_in", "lift"), ("conv_norm_out", "norm"), ("conv_out", "drop")):
        theirs = re.sub(rf"^{old}\b", new, theirs)
    theirs = theirs.replace("time_embedding.linear_1", "label.0").replace("time_embedding.linear_2", "label.2")
    theirs = re.sub(r"^mid_block\.resnets\.(\d)", lambda found: f"middle.{2 * int(found[1])}", theirs)
    theirs = re.sub(r"^mid_block\.attentions\.0", "middle.1", theirs)
    theirs = re.sub(r"^(down|up)_blocks\.(\d)", r"\1.\2", theirs)
    theirs = theirs.replace("resnets.", "blocks.").replace("attentions.", "attention.")
    theirs = theirs.replace("downsamplers.0.conv", "coarser.0").replace("upsamplers.0.conv", "finer.0")
    for old, new in {**RESNET, **ATTENTION}.items():
        theirs = theirs.replace(f".{old}.", f".{new}.")
    return theirs


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_papers_networks_have_the_papers_number_of_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in UNet(NETWORKS[name]).parameters()) == PARAMETERS[name]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("paper", 32), ("paper", 20), ("paper-ribosome", 24)])
@pytest.mark.filterwarnings("ignore")
def test_the_network_computes_what_the_reference_does(name: str, size: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    channels = NETWORKS[name].channels
    plain = len(channels) - 1
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
    )
    for parameter in theirs.parameters():  # no zeros or ones that would hide a wrong name
        torch.nn.init.normal_(parameter, std=0.1)
    ours = UNet(NETWORKS[name])
    ours.load_state_dict({our_name(key): value for key, value in theirs.state_dict().items()})
    images, labels = torch.randn(3, 1, size, size), torch.tensor([-1.5, 0.0, 0.8])
    with torch.no_grad():
        expected, found = theirs(images, labels).sample, ours(images, labels)
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_preconditioning_gives_the_network_unit_variance_at_every_noise_level() -> None:
    """Karras et al. (2022), Eq. 114 to 144: inputs and targets of F have variance 1 for data of deviation σ_d."""
    sigma, count = 0.7, 200_000
    factors, stream = Preconditioning(sigma), torch.Generator().manual_seed(0)
    clean = sigma * torch.randn(count, generator=stream, dtype=torch.float64)
    noise = torch.randn(count, generator=stream, dtype=torch.float64)
    for level in (0.01, 0.3, 1.0, 20.0):
        t = torch.tensor(level, dtype=torch.float64)
        noisy = clean + t * noise
        target = (clean - factors.skip(t) * noisy) / factors.out(t)
        assert float((factors.scale(t) * noisy).var()) == pytest.approx(1, abs=0.02)
        assert float(target.var()) == pytest.approx(1, abs=0.02)
        assert float(noise_level_weight(t, sigma) * factors.out(t) ** 2) == pytest.approx(1, abs=1e-12)
        assert float(factors.label(t)) == pytest.approx(math.log(level) / 4)


def test_without_a_network_the_preconditioning_is_the_best_denoiser_of_white_data() -> None:
    """F = 0 leaves c_skip x: the posterior mean of Gaussian data of standard deviation σ_d."""
    network = PreconditionedUNet(NETWORKS["fast"], sigma_data=0.8)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    noisy, t = torch.randn(4, 16, 16), torch.tensor([0.1, 0.5, 1.0, 9.0])
    expected = noisy * (0.64 / (0.64 + t**2))[:, None, None]
    torch.testing.assert_close(network(noisy, t), expected)


def test_a_score_treats_every_view_alone_and_leaves_empty_space_empty() -> None:
    torch.manual_seed(1)
    size = 22  # not a multiple of 8
    mask = (torch.randn(size, size) > 0).float()
    score = NetworkScore(PreconditionedUNet(NETWORKS["fast"], 1.0), -0.4, mask)
    views = torch.randn(5, size, size)
    found = score(views, 0.6)
    assert found.shape == views.shape
    assert (found[:, mask == 0] == torch.tensor(-0.4)).all()
    torch.testing.assert_close(score(views[2:3], 0.6), found[2:3], atol=1e-5, rtol=1e-5)
    mixed = score(views, torch.tensor([0.1, 0.2, 0.6, 0.4, 0.5]))
    torch.testing.assert_close(mixed[2], found[2], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mixed[1], found[1])


def test_padding_keeps_the_origin_where_it_is() -> None:
    """The network of an image that it pads computes the same as of the padded image."""
    torch.manual_seed(2)
    network = PreconditionedUNet(NETWORKS["fast"], 1.0)
    inner, t = torch.randn(2, 22, 22), torch.tensor([0.5, 0.5])
    outer = torch.zeros(2, 24, 24)
    outer[:, 1:23, 1:23] = inner  # index 11 of 22 is index 12 of 24
    torch.testing.assert_close(network(inner, t), network(outer, t)[:, 1:23, 1:23])


@pytest.mark.parametrize(("size", "pixels"), [(16, 2), (32, 2), (48, 2), (64, 4), (88, 4), (136, 8)])
def test_fast_network_works_at_24_pixels_or_fewer(size, pixels):
    assert architecture_for("fast", size).unshuffle == pixels
    assert architecture_for("paper", size) == NETWORKS["paper"]
