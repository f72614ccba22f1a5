"""onnxruntime natively, one thread: milliseconds per batch, for benches/encode.mjs.

    python benches/encode/onnxruntime.py MODEL TOKENS,… BATCH,… SECONDS

Prints one JSON list of {"tokens", "batch", "ms"}: medians of up to five rounds, of as many as take SECONDS. Texts of a batch go
one after another: they are of equal length, and a batch on a CPU gains nothing over them.
"""

import json
import statistics
import sys
import time

import numpy as np
import onnxruntime

model, tokens, batches, seconds = sys.argv[1], *([int(n) for n in part.split(",")] for part in sys.argv[2:4]), float(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
rows = []
for length in tokens:
    ids = {"input_ids": (2000 + np.arange(length, dtype=np.int64) * 37 % 5000)[None]}
    session.run(None, ids)
    for batch in batches:
        times: list[float] = []
        started = time.perf_counter()
        while len(times) < 5 and (not times or (time.perf_counter() - started) * (1 + 1 / len(times)) < seconds):
            start = time.perf_counter()
            for _ in range(batch):
                session.run(None, ids)
            times.append((time.perf_counter() - start) * 1e3)
        rows.append({"tokens": length, "batch": batch, "ms": statistics.median(times)})
print(json.dumps(rows))
