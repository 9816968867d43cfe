"""The tables and figures of Perceiver IO: A General Architecture for Structured Inputs & Outputs (Jaegle et al., ICLR
2022)."""

from __future__ import annotations

from dataclasses import replace

from .rows import Row, Table

CITED = "cited"
PAIRS = "not here: GLUE's average needs pairs of sentences and a head with a query for each task"
SENTENCE_PIECE = "not here: needs SentencePiece's tokens"
ONE_READ = ("encoder.cross_attention=[0]", "encoder.latent_transformer=[0]")
CONFIG_B = (*ONE_READ, "encoder.num_layers=16", "encoder.self_attention_mlp_ratio=4")
EVALUATED = ("sensorium evaluate {run} sintel", "sensorium evaluate {run} kitti")
FINE_TUNED = (
    "sensorium train sst2 --preset perceiver-io-bytes --from {run} --epochs 10 --set recipe.batch_size=32"
    " --set recipe.learning_rate=5e-5 --out {run}-sst2",
)


def _table(
    number: str, title: str, columns: tuple[str, ...], rows: tuple[Row, ...], note: str = "", *, sizes: bool = False
) -> Table:
    return Table(paper="Perceiver IO", number=number, title=title, columns=columns, rows=rows, note=note, sizes=sizes)


def _cited(title: str, *figures: str, note: str = CITED, parameters: str = "", flop: str = "") -> Row:
    return Row(title=title, figures=figures, note=note, parameters=parameters, flop=flop)


def _imagenet(title: str, inputs: str, accuracy: str, flop: str, parameters: str, *, io: bool) -> Row:
    """A model of Table 7: Perceiver IO, or the same with the mean of the latents instead of a decoder."""
    preset = f"perceiver-io-imagenet-{inputs}"
    return Row(
        title=title,
        figures=(accuracy,),
        parameters=parameters,
        flop=flop,
        name=preset if io else f"{preset}-mean",
        preset=preset,
        settings=() if io else ("decoder=null",),
        data="imagenet",
        published=f"deepmind/vision-perceiver-{inputs}" if io else "",
    )


def _audioset(title: str, sound: str, accuracy: str, parameters: str, flop: str, *, channels: int, io: bool) -> Row:
    settings = (*ONE_READ, "encoder.num_layers=12")
    settings += () if channels == 512 else (f"encoder.latent_channels={channels}",)
    settings += ("decoder={query_channels: 1024}",) if io else ()
    return Row(
        title=title,
        figures=(accuracy,),
        parameters=parameters,
        flop=flop,
        name=f"audioset-{sound}-{'io' if io else 'mean'}",
        preset=f"perceiver-audioset-{'av' if sound == 'raw' else 'av-mel'}",
        settings=settings,
        data="audioset",
    )


def _bytes(title: str, name: str, *figures: str, settings: tuple[str, ...] = (), **facts: str) -> Row:
    """A model of bytes, fine-tuned on the one task of GLUE that has single sentences and is scored by accuracy."""
    return Row(
        title=title,
        figures=figures,
        name=name,
        preset="perceiver-io-bytes",
        verb="pretrain",
        task="mlm",
        settings=settings,
        data="texts",
        then=FINE_TUNED,
        **facts,  # type: ignore[arg-type]
    )


def _flow(title: str, name: str, *figures: str, settings: tuple[str, ...] = (), **facts: str) -> Row:
    return Row(
        title=title,
        figures=figures,
        name=name,
        preset="perceiver-io-flow",
        settings=settings,
        data="autoflow",
        then=EVALUATED,
        **facts,  # type: ignore[arg-type]
    )


def _films(title: str, name: str, *figures: str, settings: tuple[str, ...] = ()) -> Row:
    return Row(
        title=title,
        figures=figures,
        name=name,
        preset="perceiver-io-kinetics",
        verb="pretrain",
        settings=settings,
        data="kinetics",
    )


def _latents(count: int, channels: int, figure: str, flop: str) -> Row:
    """The model of bytes with another number of latents, and as many channels as make about the same arithmetic."""
    changes = {"num_latents": count, "latent_channels": channels, "value_channels": channels}
    settings = tuple(f"encoder.{name}={value}" for name, value in changes.items())
    return _bytes(f"{count} latents × {channels:,}", f"bytes-{count}-latents", figure, settings=settings, flop=flop)


def _figure(number: str, title: str, shown: str, of: Row, command: str) -> Table:
    """What a command makes of the run of a row."""
    name = f"io-{number.lower().replace(' ', '-')}"
    return _table(number, title, (), (Row(title=shown, name=name, of=of.name, then=(f"sensorium {command}",)),))


BYTES = replace(
    _bytes("Perceiver IO", "perceiver-io-bytes", "81.0", parameters="201M", flop="113B"),
    published="deepmind/language-perceiver",
)
WIDER = ("encoder.num_layers=40", "encoder.latent_channels=1536", "encoder.value_channels=1536")
PLUS = _bytes("Perceiver IO++", "bytes-plus-plus", "81.8", settings=WIDER, parameters="425M", flop="241B")
FLOW = replace(
    _flow("Perceiver IO", "perceiver-io-flow", "1.81", "2.42", "4.98", parameters="27.9M", flop="987B"),
    published="deepmind/optical-flow-perceiver",
    note="the paper's parameters are those of 16 layers, though it says 24, as the released weights have; its FLOPs "
    "are half of ours",
)
FILMS = replace(
    _films("88x", "perceiver-io-kinetics", "26.97", "24.37", "10.2"), published="deepmind/multimodal-perceiver"
)
IMAGES = (
    _cited("ResNet-50 (He et al., 2016)", "78.6", flop="4.1B", parameters="26M"),
    _cited("NFNet-F6+SAM (Brock et al., 2021)", "86.5", flop="377.3B", parameters="438.4M"),
    _cited("Meta Pseudo Labels (Pham et al., 2021), pretrained", "90.2", parameters="480M"),
    _cited("ViT-B/16 (Dosovitskiy et al., 2021)", "77.9", flop="55.4B", parameters="86M"),
    _cited("ViT-H/14 (Dosovitskiy et al., 2021), pretrained", "88.6", parameters="632M"),
    _cited("DeiT 1000 epochs (Touvron et al., 2021)", "85.2", parameters="87M"),
    _cited("CaiT-M48 448 (Touvron et al., 2021)", "86.5", flop="329.6B", parameters="356M"),
    _imagenet("Perceiver, 2D Fourier features", "fourier", "78.6", "404B", "42.1M", io=False),
    _imagenet("Perceiver IO, config A, 2D Fourier features", "fourier", "79.0", "407B", "48.4M", io=True),
    Row(
        title="Perceiver IO, config B, 2D Fourier features, pretrained",
        figures=("84.5",),
        parameters="212M",
        flop="213B",
        note="not here: needs JFT-300M, which is not public",
    ),
    _imagenet("Perceiver, learned positions", "learned", "67.6", "404B", "55.9M", io=False),
    _imagenet("Perceiver IO, config A, learned positions", "learned", "72.7", "407B", "62.3M", io=True),
    _imagenet("Perceiver, convolution", "conv", "77.4", "367B", "42.1M", io=False),
    _imagenet("Perceiver IO, config A, convolution", "conv", "82.1", "369B", "48.6M", io=True),
    Row(
        title="Perceiver IO, config B, convolution, pretrained",
        figures=("86.4",),
        parameters="212M",
        flop="176B",
        preset="perceiver-io-imagenet-conv",
        settings=CONFIG_B,
        note="not here: needs JFT-300M, which is not public",
    ),
)

# CoLA, MNLI-m/mm, MRPC, QNLI, QQP, RTE, SST-2, STS-B
GLUE = {
    "Bert Base (test)": "52.10 84.60/83.40 84.80 90.50 89.20 66.40 93.50 87.10 80.95",
    "Bert Base (ours)": "50.28 85.56/85.68 85.75 92.67 91.05 61.72 93.98 88.04 81.14",
    "Perceiver IO Base": "47.11 84.53/85.03 87.25 92.12 90.22 65.23 94.38 88.18 81.16",
    "BERT (matching FLOPs)": "20.06 74.11/75.55 77.00 85.75 88.23 53.91 89.00 82.84 71.45",
    "Perceiver IO": "50.19 83.22/83.89 87.24 91.71 90.12 64.84 93.17 86.81 80.95",
    "Perceiver IO++": "52.54 84.13/84.91 86.03 92.06 90.46 66.54 93.98 87.93 81.76",
    "Perceiver IO (Shared input token)": "47.43 82.03/82.65 89.58 90.18 89.20 82.03 93.17 77.95 81.49",
    "Perceiver IO (Task specific input token)": "49.06 82.14/82.64 89.84 90.53 89.40 79.69 93.17 80.02 81.76",
    "Perceiver IO (Multitask query)": "47.88 82.05/82.77 90.36 90.37 89.49 80.08 93.75 79.95 81.79",
}
GLUE_RUN = {"Perceiver IO": BYTES, "Perceiver IO++": PLUS}
GLUE_NOTE = {
    "Perceiver IO Base": SENTENCE_PIECE,
    **{name: PAIRS for name in GLUE if "token)" in name or "query" in name},
}


def _glue(name: str, figures: str) -> Row:
    columns = tuple(figures.split())
    run = GLUE_RUN.get(name)
    return replace(run, figures=columns) if run else _cited(name, *columns, note=GLUE_NOTE.get(name, CITED))


def _sizes(title: str, row: Row | None, inputs: str, outputs: str, note: str = "") -> Row:
    """The sizes of a model's inputs and outputs."""
    if row is None:
        return _cited(title, inputs, outputs, note=note)
    return replace(row, title=title, figures=(inputs, outputs), parameters="", flop="", note=note or row.note)


AUDIOSET = (
    _audioset("Perceiver, raw audio", "raw", "42.4", "21.0M", "52.3B", channels=512, io=False),
    _audioset("Perceiver IO, raw audio", "raw", "43.3", "25.0M", "52.9B", channels=512, io=True),
    _audioset("Perceiver, mel spectrogram", "mel", "43.6", "21.0M", "60.7B", channels=512, io=False),
    _audioset("Perceiver IO, mel spectrogram", "mel", "44.9", "88.2M", "129.5B", channels=1024, io=True),
)
WINDOWLESS = ("inputs.window=[1,1]",)
APART = "not here: the two frames are always read together"
UPSAMPLED = "not here: needs RAFT's upsampling"
FLOW_ROWS = (
    _cited("PWCNet (Sun et al., 2018)", "2.17", "2.91", "5.76"),
    _cited("RAFT (Teed and Deng, 2020)", "1.95", "2.57", "4.23"),
    FLOW,
)

TABLES = (
    _table(
        "Table 1",
        "GLUE",
        ("average on GLUE's dev sets", "train steps a second"),
        (
            _cited("BERT Base (test), SentencePiece", "81.0", parameters="110M", flop="109B"),
            _cited("BERT Base (ours), SentencePiece", "81.1", "7.3", parameters="110M", flop="109B"),
            _cited("Perceiver IO Base", "81.2", "7.4", parameters="223M", flop="119B", note=SENTENCE_PIECE),
            _cited("BERT (matching FLOPs), bytes", "71.5", "2.9", parameters="20M", flop="130B"),
            replace(BYTES, figures=("81.0", "7.6")),
            replace(PLUS, figures=("81.8", "4.2")),
        ),
        "Here a run is fine-tuned on SST-2 alone; Table 14 has its figure. Table 11 has the sizes of these models and "
        "Tables 12 and 13 the recipes, which are in the preset.",
    ),
    _table(
        "Table 2",
        "GLUE, several tasks at once",
        ("average",),
        (
            replace(BYTES, title="Single-task query", figures=("81.0",)),
            _cited("Shared input token", "81.5", note=PAIRS),
            _cited("Task-specific input tokens", "81.8", note=PAIRS),
            _cited("Multitask query", "81.8", note=PAIRS),
        ),
    ),
    _table(
        "Table 3",
        "optical flow",
        ("Sintel clean, pixels", "Sintel final, pixels", "KITTI, pixels"),
        FLOW_ROWS,
        "End-point errors of whole frames: `clean_whole_epe`, `final_whole_epe`, and on KITTI `whole_epe`, as RAFT's "
        "published evaluation takes them: of all pixels whose motion is known, without Sintel's masks of occluded and "
        "invalid ones, and the mean of a frame first. The papers do not state their own. The baselines are AutoFlow's "
        "authors'.",
    ),
    _table(
        "Table 4",
        "autoencoding of Kinetics",
        ("audio, PSNR", "video, PSNR", "top-1, %"),
        (
            FILMS,
            _films("176x", "kinetics-176x", "25.33", "24.27", "8.6", settings=("encoder.num_latents=392",)),
            _films("352x", "kinetics-352x", "14.15", "23.21", "11.5", settings=("encoder.num_latents=196",)),
            _films(
                "88x, the class weighted more (§4.3)",
                "kinetics-class",
                *("", "20.7", "45"),
                settings=("task.loss_weights.label=1",),
            ),
        ),
    ),
    _table(
        "Tables 5 and 6",
        "inputs and outputs",
        ("inputs", "outputs"),
        (
            _sizes("Text, tokens", None, "512 × 768", "512 × 768", SENTENCE_PIECE),
            _sizes("Text, bytes", BYTES, "2,048 × 768", "2,048 × 768"),
            _sizes("Text, bytes, 8 tasks", None, "2,048 × 768", "8 × 768", PAIRS),
            _sizes("Frames apart", None, "365,056 × 64 (451)", "182,528 × 64", APART),
            _sizes("Frames together", FLOW, "182,528 × 64 (322)", "182,528 × 64"),
            _sizes("Frames apart, convolution", None, "22,816 × 64", "11,408 × 64", UPSAMPLED),
            _sizes("Frames together, convolution", None, "11,408 × 64", "11,408 × 64", UPSAMPLED),
            _sizes(
                *("Films, sound and class", FILMS, "50,657 × 704", "803,297 × 512"),
                "the paper's text and code have 1,920 rows of sound, this table 480",
            ),
            _sizes("ImageNet, pixels", IMAGES[8], "50,176 × 3 (261)", "1 × 1,000"),
            _sizes("ImageNet, learned positions", IMAGES[11], "50,176 × 256 (512)", "1 × 1,000"),
            _sizes("ImageNet, convolution", IMAGES[13], "3,136 × 64 (322)", "1 × 1,000"),
            _sizes("StarCraft II", None, "512 × 256", "512 × 128", "not here: needs AlphaStar's agent"),
            _sizes("AudioSet, raw audio", AUDIOSET[1], "13,024 × 487", "1 × 527"),
            _sizes("AudioSet, mel spectrogram", AUDIOSET[3], "17,344 × 487", "1 × 527"),
        ),
        "In brackets the channels with the position encoding, where Table 6 says so.",
        sizes=True,
    ),
    _table(
        *("Table 7", "ImageNet", ("top-1, %",), IMAGES),
        "Rows of 512 channels, with learned positions, take more arithmetic than rows of 261; the paper says that it "
        "does not change significantly.",
    ),
    _table(
        "Table 8",
        "ImageNet, speed",
        ("train steps a second on 64 TPUv3, batches of 1,024",),
        (
            replace(IMAGES[7], title="Perceiver (2D FF)", figures=("4.73",)),
            replace(IMAGES[8], title="Perceiver IO (2D FF)", figures=("4.85",)),
            replace(IMAGES[10], title="Perceiver (learned pos)", figures=("4.16",)),
            replace(IMAGES[11], title="Perceiver IO (learned pos)", figures=("4.14",)),
            replace(IMAGES[12], title="Perceiver (conv)", figures=("4.73",)),
            replace(IMAGES[13], title="Perceiver IO (conv)", figures=("5.58",)),
            _cited("Perceiver IO (pretrained)", "6.41", note="not here: needs JFT-300M, which is not public"),
        ),
        "`sensorium inspect DATA --preset NAME` measures the time of a step on the machine at hand; "
        "[benchmarks/results.md](../benchmarks/results.md) has times of ours and of other implementations.",
    ),
    _table(
        "Table 9",
        "StarCraft II",
        ("win rate", "train steps a second"),
        (
            _cited("Transformer (Vinyals et al., 2019)", "0.87", "2.9", parameters="144M", flop="3.3B"),
            _cited(
                *("Perceiver IO", "0.87", "2.9"),
                parameters="140M",
                flop="0.93B",
                note="not here: needs AlphaStar's agent and games",
            ),
        ),
    ),
    _table("Table 10", "AudioSet, audio and video", ("mAP",), AUDIOSET, "512 latents; 1,024 channels in the last row."),
    _table(
        "Table 14",
        "GLUE, each task",
        ("CoLA", "MNLI-m/mm", "MRPC", "QNLI", "QQP", "RTE", "SST-2", "STS-B", "average"),
        tuple(_glue(name, figures) for name, figures in GLUE.items()),
    ),
    _table(
        "Table 15",
        "GLUE, the number of latents",
        ("average",),
        (
            _latents(128, 1920, "75.84", "120B"),
            replace(BYTES, title="256 latents × 1,280", figures=("80.95",), parameters=""),
            _latents(512, 896, "80.92", "125B"),
        ),
    ),
    _table(
        "Table 16",
        "optical flow, what changes it",
        ("Sintel clean, pixels", "Sintel final, pixels", "KITTI, pixels"),
        (
            *FLOW_ROWS[:2],
            replace(FLOW, title="3×3, frames together"),
            _cited("3×3, frames apart", "1.78", "2.70", "6.19", note=APART),
            _flow("1×1, frames together", "flow-1x1", "1.91", "2.56", "5.39", settings=WINDOWLESS),
            _cited("1×1, frames apart", "1.72", "2.63", "5.93", note=APART),
            _cited("convolution, frames together", "1.84", "2.52", "4.83", note=UPSAMPLED),
            _cited("convolution, frames apart", "1.90", "2.53", "6.66", note=UPSAMPLED),
            _cited("convolution, frames together, 16 layers, 1,024 latents", "2.06", "2.67", "6.12", note=UPSAMPLED),
        ),
    ),
    _table(
        "Table 17",
        "autoencoding of Kinetics, arithmetic",
        (),
        (
            replace(
                FILMS,
                title="train: 512 pixels, 512 rows of sound and the class are decoded",
                figures=(),
                parameters="20.0M",
                flop="310B",
                trained=True,
            ),
            replace(FILMS, title="evaluation: everything is decoded", figures=(), parameters="20.0M", flop="6.85T"),
        ),
        "The paper's runs took 4.4 train steps a second.",
    ),
    _figure("Figure 4", "reconstructed films", "film and sound, 88x", FILMS, "predict {run} film.mp4"),
    _figure("Figure 7", "attention maps of text", "of the first cross-attend", BYTES, "explain {run} text.txt"),
    _figure(
        *("Figure 8", "flow of Sintel's frames", "the predicted flow as .flo and in colours", FLOW),
        "predict {run} frame_0001.png frame_0002.png",
    ),
)
