"""onnxruntime natively, one thread: milliseconds per batch, for benches/encode.mjs.

    python benches/encode/onnxruntime_native.py MODEL TOKENS,… BATCH,… SECONDS

Prints one JSON list of {"tokens", "batch", "ms"}. A batch is measured one text after another and in slices of up to 64 texts,
and the faster of the two is told: medians of up to five rounds, of as many as take SECONDS. What the smaller batches tell would
take longer than that is left out.
"""

import json
import statistics
import sys
import time

import numpy as np
import onnxruntime

SLICE = 64

model, tokens, batches, seconds = sys.argv[1], *([int(n) for n in part.split(",")] for part in sys.argv[2:4]), float(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def seconds_of(length: int, batch: int, width: int) -> float:
    """Of a batch, `width` texts at once."""
    ids = 2000 + np.arange(length, dtype=np.int64) * 37 % 5000
    start = time.perf_counter()
    for at in range(0, batch, width):
        session.run(None, {"input_ids": np.tile(ids, (min(width, batch - at), 1))})
    return time.perf_counter() - start


rows = []
for length in tokens:
    each = {1: seconds_of(length, 1, 1), SLICE: 0.0}  # seconds per text, by the batch before
    for batch in batches:
        medians = []
        for width in [1] if batch == 1 else [1, SLICE]:
            times: list[float] = []
            while len(times) < 5 and sum(times) + (statistics.mean(times) if times else each[width] * batch) <= seconds:
                times.append(seconds_of(length, batch, width))
            if times:
                medians.append(statistics.median(times))
                each[width] = medians[-1] / batch
        if medians:
            rows.append({"tokens": length, "batch": batch, "ms": min(medians) * 1e3})
print(json.dumps(rows))
