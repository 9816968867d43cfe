"""The files that start trainings on clusters are well-formed, and say what docs/scaling.md says."""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import yaml

import sensorium as sm
from sensorium.cli.options import TrainOptions

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "examples" / "launch"


def test_every_file_is_on_the_page() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    assert {path.name for path in LAUNCH.iterdir()} == set(re.findall(r"\.\./examples/launch/([\w.]+)", page))


def test_slurm_starts_torchrun_on_each_node() -> None:
    """A script of bash; its directives stand before the first command, and its processes are those of the GPUs."""
    path = LAUNCH / "slurm.sbatch"
    subprocess.run(["bash", "-n", str(path)], check=True)
    before, _, commands = path.read_text("utf-8").partition("set -euo pipefail")
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", before, flags=re.M))
    assert directives.keys() >= {"nodes", "ntasks-per-node", "gpus-per-node", "time", "signal"}
    assert "#SBATCH" not in commands
    assert directives["ntasks-per-node"] == "1"
    assert f"--nproc-per-node {directives['gpus-per-node']}" in commands
    assert "-m sensorium train" in commands


def test_kubernetes_starts_as_many_processes_as_gpus() -> None:
    """One master, workers like it, every volume that is mounted."""
    job = yaml.safe_load((LAUNCH / "kubernetes.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert replicas["Master"]["replicas"] == 1
    assert replicas["Master"]["template"] == replicas["Worker"]["template"]
    pod = replicas["Master"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "pytorch", "the operator looks for this name"
    assert str(container["resources"]["limits"]["nvidia.com/gpu"]) == job["spec"]["nprocPerNode"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["args"][0].startswith("torchrun -m sensorium train ")
    subprocess.run(["bash", "-n", "-c", container["args"][0]], check=True)


def test_ray_calls_train_with_arguments_that_it_has() -> None:
    tree = ast.parse((LAUNCH / "ray_train.py").read_text("utf-8"))
    compile(tree, "ray_train.py", "exec")
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "sm.train"]
    assert {keyword.arg for keyword in call.keywords} <= sm.train.__annotations__.keys()


def test_the_options_on_the_page_exist() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    options = set(re.findall(r"sensorium train DATA[^\n`]*?(--[a-z-]+)", page)) | {"--devices", "--nodes", "--resume"}
    known = {f"--{field.name.replace('_', '-')}" for field in fields(TrainOptions)}
    assert options <= known
    assert "--checkpoint-minutes" in known
    assert "--checkpoint-minutes" in page
