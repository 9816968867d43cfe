"""Draws docs/explaining-maps.webp and docs/explaining-latents.webp: the maps of an example of each run of the demo.

sensorium demo && python docs/draw_explaining.py [runs/demo]
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from sensorium.inference.attention_maps import attention_maps
from sensorium.inference.attributions import METHODS, predicted_classes
from sensorium.inference.latent_maps import LatentMapsConfig, latent_maps, shades
from sensorium.inference.opened import answer_inputs, open_run
from sensorium.report.explanation import method_title
from sensorium.report.montage import montage

DOCS = Path(__file__).parent
EXAMPLES = {"digits": 600, "solids": 401, "tones": 300}  # of each run, one
QUALITY = 90


def main(demo: Path) -> None:
    """Draw both pictures."""
    opened = {name: open_run(demo / name, demo / "data" / name) for name in EXAMPLES}
    views = {name: (model, answer_inputs(model, files, EXAMPLES[name])) for name, (model, files) in opened.items()}
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    grid = figure.subplots(len(views), 6)
    for axes, (name, (model, view)) in zip(grid, views.items(), strict=True):
        classes = predicted_classes(model, view)
        maps = attention_maps(model, view)
        shown = {"input": None} | {f"cross-attend {number}": map_[0] for number, map_ in enumerate(maps, start=1)}
        shown |= {
            method_title(method).lower(): shades(METHODS[method](model, view, classes).elements[0])
            for method in METHODS
        }
        for cell, (title, map_) in zip(axes, shown.items(), strict=True):
            model.inputs.draw(cell, view, 0, map_)
            cell.set(xlabel="", ylabel="", xticks=[], yticks=[])
            label = title if map_ is not None else f"{name}: {model.task.classes[int(classes)]}"
            cell.set_title(label, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90)
    _write(Image.open(buffer), DOCS / "explaining-maps.webp")
    lines = []
    for name, latents in (("digits", 12), ("solids", 12), ("tones", 7)):
        model, view = views[name]
        found = latent_maps(model, view, LatentMapsConfig(latents=tuple(range(latents))))
        uri = montage(model.inputs, view, found)
        lines.append(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))
    sheet = Image.new("RGB", (max(line.width for line in lines), sum(line.height + 12 for line in lines)), "white")
    top = 0
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height + 12
    _write(sheet, DOCS / "explaining-latents.webp")


def _write(picture: Image.Image, path: Path) -> None:
    picture.convert("RGB").save(path, quality=QUALITY, method=6)
    print(f"{path.name}: {picture.size}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
