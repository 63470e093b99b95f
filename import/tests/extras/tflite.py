"""The small network with one additional operator, for every builtin operator and place.

    tflite.py OUTPUT FIXTURES

Writes `PLACE-KIND-CODE.tflite` into the folder OUTPUT. KIND is `unary`, or `binary` with a constant operand of one number.
PLACE is that of the operator: `before` the network, `inside` it after a block's convolution, after the `head` or the `pool`,
`after` the logits, and at a `branch`, whose result nothing reads. In `unused.tflite` no
operator reads a constant.
"""
import sys
from pathlib import Path

output, fixtures = map(Path, sys.argv[1:])
sys.path.insert(0, str(fixtures))
import numpy as np  # noqa: E402

import flat  # noqa: E402
import network  # noqa: E402
import tflite_files  # noqa: E402

CODES, BINARY = range(161), (0, 1, 2, 18, 34, 40, 41, 42, 55, 57, 88, 99)
LAST = len(network.layers()) - 1 + 2  # two additions
PLACES = {"before": -1, "inside": 3, "head": LAST, "pool": LAST + 1, "after": LAST + 2, "branch": 3}


class Extra(flat.Flat):
    def __init__(self):
        super().__init__()
        self.count = 0

    def save(self, name, image, result):
        if self.place == "unused":
            self.tensor("unread", None, None, np.float32([2]))
        super().save(name, image, result)

    def code(self, code):
        # Codes above 127 are in the second field only.
        return self.table([(0, "Int8", min(code, 127)), (2, "Int32", 1), (3, "Int32", code)])

    def extra(self, value):
        inputs = [value]
        if self.kind == "binary":
            inputs.append(self.tensor("operand", None, None, np.float32([2])))
        return super().operator(self.added, inputs, self.tensor("extra", self.tensors[value][1]))

    def operator(self, code, inputs, result, options=None):
        if self.count == 0 and PLACES[self.place] == -1:
            inputs = [self.extra(inputs[0]), *inputs[1:]]
        value = super().operator(code, inputs, result, options)
        self.count += 1
        if self.count - 1 == PLACES[self.place]:
            extra = self.extra(value)
            return value if self.place == "branch" else extra
        return value


PLACES["unused"] = None
tflite_files.Flat, flat.HERE = Extra, output
folded = network.fold(network.raw_weights(network.EPSILON["same"]))
weights = tflite_files.tflite_floats(folded)
for Extra.place in [place for place in PLACES if place != "unused"]:
    for Extra.kind, codes in [("unary", CODES), ("binary", BINARY)]:
        for Extra.added in codes:
            tflite_files.tflite_network(f"{Extra.place}-{Extra.kind}-{Extra.added}.tflite", weights, (np.float32,))
Extra.place = "unused"
tflite_files.tflite_network("unused.tflite", weights, (np.float32,))
