"""The package as users install it: a wheel, in an empty environment, used from another folder. Takes minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MODEL = """
inputs: {kind: image, size: [16, 16], bands: 4}
encoder:
  num_latents: 8
  latent_channels: 32
  cross_attention: [0, 1]
  latent_transformer: [0, 0]
  num_layers: 1
task: {kind: classify, classes: [cat, dog]}
"""
SMOKE = """
from pathlib import Path
import numpy as np
import sensorium as sm
from PIL import Image

assert "site-packages" in sm.__file__
sm.save(sm.build("model.yaml"), Path("run"))
Image.fromarray(np.full((16, 16, 3), 100, np.uint8)).save("picture.png")
"""


def run(*command: str, cwd: Path, **environment: str) -> str:
    """The output of a command that must succeed. It sees no settings of this checkout's Python."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run(command, cwd=cwd, env=inherited | environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def copy_of_the_tree(folder: Path) -> Path:
    """What git knows of this checkout, in a folder of its own: nothing that was built here gets into a wheel."""
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in names:
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return folder


def build_wheel(folder: Path, **environment: str) -> Path:
    """The wheel of this checkout. The build environment has setuptools only: nothing of it needs torch."""
    tree = copy_of_the_tree(folder / "tree")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(tree), cwd=folder, **environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment without the system's packages, and its folder; wheels are installed into it in turn."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(folder), cwd=folder)
    return folder


def install(environment: Path, wheel: Path) -> None:
    """The wheel with what it requires, the versions of constraints.txt; a wheel of the same version is replaced."""
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "-c", str(ROOT / "constraints.txt"), str(wheel), cwd=environment)
    run(*pip, "--no-deps", "--force-reinstall", str(wheel), cwd=environment)


def facts(environment: Path, folder: Path) -> dict[str, str]:
    """What ``sensorium doctor --json`` says, fact by fact."""
    lines = run(str(environment / "bin" / "sensorium"), "doctor", "--json", cwd=folder).splitlines()
    return {fact["what"]: f"{fact['state']} {fact['note']}" for fact in map(json.loads, lines)}


def predicts(environment: Path, folder: Path) -> None:
    """A model is saved, and the command predicts a picture with it, from a folder that is no checkout."""
    (folder / "model.yaml").write_text(MODEL, "utf-8")
    run(str(environment / "bin" / "python"), "-c", SMOKE, cwd=folder)
    out = run(str(environment / "bin" / "sensorium"), "predict", "run", "picture.png", "--json", cwd=folder)
    answer = json.loads(out.splitlines()[-1])
    assert answer["answer"] in ("cat", "dog")
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-3)


def structured(found: dict[str, str]) -> str:
    """The fact about structured attention."""
    (name,) = [name for name in found if name.startswith("structured")]
    return found[name]


def test_a_wheel_with_the_compiled_pass(environment: Path, tmp_path: Path) -> None:
    """It holds the compiled pass, presets and type marker, and works in an empty environment."""
    wheel = build_wheel(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.startswith("sensorium/nn/ops/_grid_attention")], "no compiled pass in it"
    assert {"sensorium/py.typed", "sensorium/models/presets/perceiver-imagenet.yaml"} <= set(names)
    assert not [name for name in names if not name.startswith(("sensorium/", "sensorium-"))]
    templates = [path for path in (ROOT / "src/sensorium/report").rglob("*") if path.parent.name == "templates"]
    assert {f"sensorium/report/templates/{path.name}" for path in templates} <= set(names)
    install(environment, wheel)
    (tmp_path / "elsewhere").mkdir()
    assert structured(facts(environment, tmp_path / "elsewhere")).startswith("compiled")
    predicts(environment, tmp_path / "elsewhere")


def test_a_wheel_built_without_a_compiler(environment: Path, tmp_path: Path) -> None:
    """Without a C compiler the wheel is built all the same; the doctor says that the fallback runs, and what to do."""
    wheel = build_wheel(tmp_path, CC="/bin/false")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "_grid_attention" in name]
    install(environment, wheel)
    (tmp_path / "elsewhere").mkdir()
    found = structured(facts(environment, tmp_path / "elsewhere"))
    assert "compiler" in found
    assert not found.startswith("compiled")
    predicts(environment, tmp_path / "elsewhere")


def test_a_source_distribution_holds_the_compiled_pass_s_source(tmp_path: Path) -> None:
    """Whoever builds from it needs the .c and the .h."""
    tree = copy_of_the_tree(tmp_path / "tree")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(tree), cwd=tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    listed = run("tar", "tzf", str(archive), cwd=tmp_path)
    for name in ("grid_attention.c", "grid_attention_pass.h", "constraints.txt", "py.typed", "perceiver-imagenet.yaml"):
        assert name in listed
