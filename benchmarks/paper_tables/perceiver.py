"""The tables and figures of Perceiver: General Perception with Iterative Attention (Jaegle et al., ICML 2021)."""

from __future__ import annotations

from dataclasses import replace

from .rows import Row, Table

CITED = "cited"


def _cited(title: str, *figures: str) -> Row:
    return Row(title=title, figures=figures, note=CITED)


def _imagenet(title: str, name: str, *figures: str, permute: bool = False, **facts: str) -> Row:
    """A model of ImageNet that is the preset of its name."""
    preset, name = name, f"{name}-permuted" if permute else name
    return Row(title=title, figures=figures, name=name, preset=preset, permute=permute, data="imagenet", **facts)


def _permuted(title: str, preset: str, raw: str, permuted: str, field: str) -> tuple[Row, Row]:
    """The two runs of a line of Table 2."""
    return (
        _imagenet(title, preset, raw, "", field),
        _imagenet(f"{title}, permuted", preset, "", permuted, field, permute=True),
    )


def _shape(cross_attention: list[int | None], latent_transformer: list[int | None]) -> tuple[str, str]:
    """The settings of which cross-attends and which latent transformers share weights."""
    lists = {"cross_attention": cross_attention, "latent_transformer": latent_transformer}
    return tuple(  # type: ignore[return-value]
        f"encoder.{name}=[{','.join('null' if number is None else str(number) for number in numbers)}]"
        for name, numbers in lists.items()
    )


def _at_start(count: int) -> tuple[str, str]:
    """So many cross-attends before all latent transformers; all but the first one share their weights."""
    later: list[int | None] = [None] * (count - 1)
    return _shape([0, *[1] * (count - 1), *[None] * 7], [*later, *[0] * 8])


def _interleaved(count: int) -> tuple[str, str]:
    """So many cross-attends, evenly between the latent transformers."""
    cross_attention = [None if place % (8 // count) else min(place, 1) for place in range(8)]
    return _shape(cross_attention, [0] * 8)


def _variant(title: str, name: str, settings: tuple[str, ...], accuracy: str, flop: str, parameters: str) -> Row:
    """The model of ImageNet with other cross-attends."""
    if name == "perceiver-imagenet":
        settings = ()
    facts = {"flop": flop, "parameters": parameters, "preset": "perceiver-imagenet", "data": "imagenet"}
    return Row(title=title, figures=(accuracy,), name=name, settings=settings, **facts)  # type: ignore[arg-type]


def _only(count: int, accuracy: str, flop: str, parameters: str) -> Row:
    """So many cross-attends that share nothing, without latent transformers."""
    settings = _shape([*range(count)], [None] * count)
    name = f"imagenet-{count}-cross-attends-only"
    return _variant(f"{count} cross-attends", name, settings, accuracy, flop, parameters)


def _audioset(title: str, preset: str, column: int, figure: str, **facts: object) -> Row:
    """A model of AudioSet; its figure stands in the column of its inputs: audio, video, or both."""
    figures = tuple(figure if number == column else "" for number in range(3))
    given = {"name": preset, "preset": preset, "data": "audioset", **facts}
    return Row(title=title, figures=figures, **given)  # type: ignore[arg-type]


def _clouds(title: str, preset: str, figure: str) -> Row:
    return Row(title=title, figures=(figure,), name=preset, preset=preset, data="modelnet40")


def _figure(number: str, title: str, of: str, file: str) -> Table:
    """Attention maps of a run."""
    name = number.lower().replace(" ", "-").replace(",", "")
    row = Row(title=title, name=name, of=of, then=(f"sensorium explain {{run}} {file}",))
    return Table(paper="Perceiver", number=number, title="attention maps", rows=(row,))


HEADLINE = _imagenet("Perceiver (FF)", "perceiver-imagenet", "78.0", parameters="44.9M", flop="707.2B")
NO_SHARING = _shape([*range(8)], [*range(8)])
SMALL = (
    *("encoder.latent_channels=512", *_shape([0, 1], [0, 1]), "encoder.num_layers=4"),
    "recipe.batch_size=64",
)

TABLES = (
    Table(
        paper="Perceiver",
        number="Table 1",
        title="ImageNet",
        columns=("top-1, %",),
        rows=(
            _imagenet("ResNet-50", "resnet50-imagenet", "77.6"),
            _imagenet("ViT-B-16", "vit-b16-imagenet", "77.9"),
            _imagenet("ResNet-50 (FF)", "resnet50-imagenet-fourier", "73.5"),
            _imagenet("ViT-B-16 (FF)", "vit-b16-imagenet-fourier", "76.7"),
            _imagenet("Transformer (64x64, FF)", "transformer-imagenet", "57.0"),
            HEADLINE,
        ),
        note="The paper took the first two from Cubuk et al. (2020) and Dosovitskiy et al. (2021).",
    ),
    Table(
        paper="Perceiver",
        number="Table 2",
        title="ImageNet with permuted pixels",
        columns=("raw, %", "permuted, %", "pixels that the first layer sees"),
        rows=(
            *_permuted("ResNet-50 (FF)", "resnet50-imagenet-fourier", "73.5", "39.4", "49"),
            *_permuted("ViT-B-16 (FF)", "vit-b16-imagenet-fourier", "76.7", "61.7", "256"),
            *_permuted("Transformer (64x64) (FF)", "transformer-imagenet", "57.0", "57.0", "4,096"),
            *_permuted("Perceiver (FF)", "perceiver-imagenet", "78.0", "78.0", "50,176"),
            *_permuted("Perceiver (learned pos.)", "perceiver-imagenet-learned", "70.9", "70.9", "50,176"),
        ),
        note="One permutation for all pictures, after the position encodings were made.",
    ),
    Table(
        paper="Perceiver",
        number="Table 3",
        title="AudioSet",
        columns=("audio, mAP", "video, mAP", "audio and video, mAP"),
        rows=(
            _cited("Benchmark (Gemmeke et al., 2017)", "31.4", "", ""),
            _cited("Attention (Kong et al., 2018)", "32.7", "", ""),
            _cited("Multi-level Attention (Yu et al., 2018)", "36.0", "", ""),
            _cited("ResNet-50 (Ford et al., 2019)", "38.0", "", ""),
            _cited("CNN-14 (Kong et al., 2020)", "43.1", "", ""),
            _cited("CNN-14, no balancing and no mixup (Kong et al., 2020)", "37.5", "", ""),
            _cited("G-blend (Wang et al., 2020)", "32.4", "18.8", "41.8"),
            _cited("Attention AV-fusion (Fayek and Kumar, 2020)", "38.4", "25.7", "46.2"),
            _audioset("Perceiver (raw audio)", "perceiver-audioset-audio", 0, "38.3", note="38.4 in the text"),
            _audioset("Perceiver (mel spectrogram)", "perceiver-audioset-mel", 0, "38.4"),
            _audioset("Perceiver (video)", "perceiver-audioset-video", 1, "25.8"),
            _audioset("Perceiver (raw audio), both", "perceiver-audioset-av", 2, "43.5"),
            _audioset("Perceiver (mel spectrogram), both", "perceiver-audioset-av-mel", 2, "43.2"),
            _audioset(
                "Perceiver (mel spectrogram, tuned), both",
                "perceiver-audioset-av-mel",
                2,
                "44.2",
                name="perceiver-audioset-av-mel-tuned",
                settings=("inputs.modalities.audio.blank=0", "inputs.dropout={video: 0.3, audio: 0.1}"),
            ),
            _audioset(
                "Perceiver (raw audio), both, video never dropped (§4.2)",
                "perceiver-audioset-av",
                2,
                "39.7",
                name="perceiver-audioset-av-no-dropout",
                settings=("inputs.dropout={}",),
            ),
            _audioset(
                "Perceiver (mel spectrogram), both, video never dropped (§4.2)",
                "perceiver-audioset-av-mel",
                2,
                "39.9",
                name="perceiver-audioset-av-mel-no-dropout",
                settings=("inputs.dropout={}",),
            ),
        ),
        note="The paper states neither the width nor the number of latents; the presets take Perceiver IO's.",
    ),
    Table(
        paper="Perceiver",
        number="Table 4",
        title="ModelNet40",
        columns=("accuracy, %",),
        rows=(
            _cited("PointNet++ (Qi et al., 2017)", "91.9"),
            _clouds("ResNet-50 (FF)", "resnet50-modelnet40", "66.3"),
            _clouds("ViT-B-2 (FF)", "vit-b2-modelnet40", "78.9"),
            _clouds("ViT-B-4 (FF)", "vit-b4-modelnet40", "73.4"),
            _clouds("ViT-B-8 (FF)", "vit-b8-modelnet40", "65.3"),
            _clouds("ViT-B-16 (FF)", "vit-b16-modelnet40", "59.6"),
            _clouds("Transformer (44x44)", "transformer-modelnet40", "82.1"),
            _clouds("Perceiver", "perceiver-modelnet40", "85.7"),
        ),
        note="The paper reports the best result of each kind of model, chosen by its test score.",
    ),
    Table(
        paper="Perceiver",
        number="Table 5",
        title="ImageNet, cross-attends without latent transformers",
        columns=("top-1, %",),
        rows=(
            _only(4, "39.4", "173.1B", "12.7M"),
            _only(8, "45.3", "346.1B", "23.8M"),
            _only(12, "out of memory", "519.2B", "34.9M"),
        ),
    ),
    Table(
        paper="Perceiver",
        number="Table 6",
        title="ImageNet, the number of cross-attends and their places",
        columns=("top-1, %",),
        rows=(
            _variant("1 (at start)", "imagenet-1-cross-attend", _at_start(1), "76.7", "404.3B", "41.1M"),
            _variant("1 (interleaved)", "imagenet-1-cross-attend", _at_start(1), "76.7", "404.3B", "42.1M"),
            _variant("2 (at start)", "imagenet-2-at-start", _at_start(2), "76.7", "447.6B", "44.9M"),
            _variant("2 (interleaved)", "imagenet-2-interleaved", _interleaved(2), "76.5", "447.6B", "44.9M"),
            _variant("4 (at start)", "imagenet-4-at-start", _at_start(4), "75.9", "534.1B", "44.9M"),
            _variant("4 (interleaved)", "imagenet-4-interleaved", _interleaved(4), "76.5", "534.1B", "44.9M"),
            _variant("8 (at start)", "imagenet-8-at-start", _at_start(8), "73.7", "707.2B", "44.9M"),
            replace(HEADLINE, title="8 (interleaved)"),
        ),
        note="With one cross-attend both places are the same; 41.1M are 42.1M without the last linear layer.",
    ),
    Table(
        paper="Perceiver",
        number="Table 7",
        title="ImageNet, sharing of weights",
        columns=("top-1, %", "of training pictures, %"),
        rows=(
            replace(
                _variant("No weight sharing", "imagenet-no-sharing", NO_SHARING, "72.9", "707.2B", "326.2M"),
                figures=("72.9", "87.7"),
            ),
            replace(HEADLINE, title="With weight sharing", figures=("78.0", "79.5")),
        ),
    ),
    Table(
        paper="Perceiver",
        number="Figure 5",
        title="ImageNet, the sizes of a small model",
        columns=("top-1, %",),
        rows=(
            Row(
                title="the model in the middle of all sweeps",
                name="imagenet-small",
                preset="perceiver-imagenet",
                settings=SMALL,
                data="imagenet",
                note="its figures are in a plot; 5 million steps",
            ),
        ),
        note="Swept are `encoder.num_latents`, `encoder.latent_channels`, `encoder.num_layers`, and the lengths of "
        "`encoder.cross_attention` and `encoder.latent_transformer`.",
    ),
    Table(
        paper="Perceiver",
        number="Figure 6",
        title="ImageNet, position encodings",
        columns=("top-1, %",),
        rows=(
            Row(
                title="the full model, half of whose bands and of whose highest frequency are left",
                name="imagenet-fewer-bands",
                preset="perceiver-imagenet",
                settings=("inputs.bands=32", "inputs.resolution=[112,112]", "recipe.batch_size=256"),
                data="imagenet",
                note="its figures are in a plot",
            ),
        ),
        note="Swept are `inputs.bands`, `inputs.resolution` and the scale of the latents at the start, which is no "
        "setting here.",
    ),
    _figure("Figures 3, 7 to 12", "of the first and the last cross-attend", "perceiver-imagenet", "picture.jpg"),
    _figure("Figures 13 to 15", "with learned positions", "perceiver-imagenet-learned", "picture.jpg"),
    _figure("Figures 16 to 19", "of video", "perceiver-audioset-video", "film.mp4"),
    _figure("Figures 20 to 23", "of mel spectrograms", "perceiver-audioset-mel", "film.mp4"),
    _figure("Figures 24 to 31", "of video and mel spectrograms", "perceiver-audioset-av-mel", "film.mp4"),
)
