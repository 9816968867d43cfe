"""Answers of an exported model with numpy and onnxruntime alone.

sensorium export runs/motors
python examples/onnx_numpy.py runs/motors/model.onnx signals.npy  # an array: examples × steps × channels
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
facts = json.loads(session.get_modelmeta().custom_metadata_map["sensorium"])
signals = np.load(sys.argv[2]).astype(np.float32)
signal, mask = facts["inputs"][0], facts["inputs"][1]
count, length = signals.shape[:2]
least, step = signal["shortest"], signal["multiple_of"]
padded = max(least, -(-length // step) * step)  # the lengths that the model takes
signals = np.pad(signals, ((0, 0), (0, padded - length), (0, 0)))
present = np.broadcast_to(np.arange(padded) < length, (count, padded))
(scores,) = session.run(["scores"], {signal["name"]: signals, mask["name"]: present})
for row in scores:
    print(facts["classes"][row.argmax()], f"{row.max():.3f}")
