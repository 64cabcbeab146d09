"""A transformers pipeline labels the lines of a file: python transformers_pipeline.py FOLDER LINES; texts per second as JSON.

FOLDER: of a model for sequence classification, such as `python main.py export RUN` writes; batches of 32.
"""

import json
import sys
import time
from pathlib import Path

from transformers import pipeline

if len(sys.argv) < 3:
    sys.exit(__doc__)

classify = pipeline("text-classification", model=sys.argv[1], tokenizer=sys.argv[1], device="cpu", top_k=None)
texts = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
classify(texts[:32], batch_size=32, truncation=True)
started = time.perf_counter()
classify(texts, batch_size=32, truncation=True)
print(json.dumps({"texts_per_second": len(texts) / (time.perf_counter() - started)}))
