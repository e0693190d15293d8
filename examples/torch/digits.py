# SPDX-License-Identifier: Apache-2.0
"""Write scikit-learn's handwritten digits for the examples: 1,797 records of 64 bytes, the pixels
from 0 to 16, and one byte, the digit.

    python3 digits.py digits.bin"""
import sys

import numpy
from sklearn.datasets import load_digits

digits = load_digits()
records = numpy.column_stack([digits.data, digits.target]).astype(numpy.uint8)
with open(sys.argv[1], "wb") as file:
    file.write(records.tobytes())
