# SPDX-License-Identifier: Apache-2.0
"""Run a test by the oracle environment's python; 77 (skipped) if that is not complete."""
import os
import sys

python, script = sys.argv[1:3]
if not os.path.exists(os.path.join(os.path.dirname(python), "..", ".complete")):
    print(f"skipped: no complete oracle environment for {python}; `make oracle` builds it from PyPI")
    sys.exit(77)
os.execv(python, [python, script])
