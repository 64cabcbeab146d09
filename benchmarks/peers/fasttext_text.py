"""fastText on prepared text: python fasttext_text.py TRAIN TEST EPOCHS SEED; prints what it measured as JSON.

Each line of TRAIN and TEST is __label__L and the words. EPOCHS 0 only reads: the difference to a training is the training alone.
"""

import json
import sys
import time

import fasttext

if len(sys.argv) < 5:
    sys.exit(__doc__)

train, test, epochs, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
started = time.perf_counter()
model = fasttext.train_supervised(train, dim=10, lr=0.5, epoch=epochs, wordNgrams=2, thread=2, seed=seed, verbose=0)
seconds = time.perf_counter() - started
accuracy = model.test(test)[1]
print(json.dumps({"seconds": seconds, "accuracy": accuracy}))
