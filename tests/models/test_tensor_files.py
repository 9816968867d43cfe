"""Safetensors files that are written and read tensor by tensor."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from sensorium.models.tensor_files import TensorReader, TensorWriter

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
shapes_by_name = st.dictionaries(
    st.text(max_size=4), st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3))
)


@given(shapes_by_name)
def test_other_readers_of_safetensors_read_what_is_written(shapes: dict[str, tuple[torch.dtype, list[int]]]) -> None:
    """The library finds the same tensors in a file as we wrote, in whatever order they were written."""
    tensors = {
        name: torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
        for name, (dtype, shape) in shapes.items()
    }
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        with TensorWriter(path, tensors, {"note": 'of "two"\nlines'}) as file:
            for name in sorted(tensors, reverse=True):
                file.write(name, tensors[name])
        found = load_file(path)
        assert found.keys() == tensors.keys()
        assert all(found[name].dtype == tensor.dtype and found[name].equal(tensor) for name, tensor in tensors.items())
        assert TensorReader(path).notes == {"note": 'of "two"\nlines'}
