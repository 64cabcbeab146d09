"""fastText predicts the lines of a file, one by one: python fasttext_predict.py TRAIN LINES; prints texts per second as JSON."""

import json
import sys
import time

import fasttext

if len(sys.argv) < 3:
    sys.exit(__doc__)

model = fasttext.train_supervised(sys.argv[1], dim=10, epoch=1, wordNgrams=2, thread=2, verbose=0)
started, number = time.perf_counter(), 0
with open(sys.argv[2], encoding="utf-8") as lines:  # noqa: PTH123 (as a peer would write it)
    for line in lines:
        model.f.predict(line, 1, 0.0, "strict")
        number += 1
print(json.dumps({"texts_per_second": number / (time.perf_counter() - started)}))
