# SPDX-License-Identifier: Apache-2.0
"""Run a test by the oracle environment's python; 77 (skipped) if that is not complete."""
import os
import sys

python, script = sys.argv[1:3]
if not os.path.exists(os.path.join(os.path.dirname(python), "..", ".complete")):
    print(f"skipped: no complete oracle environment for {python}; `make oracle` builds it from PyPI")
    sys.exit(77)
# The tests' own folder comes last, so that none of them hides a module of its name.
run = "import runpy, sys; sys.path[0:1] = []; sys.path.append(sys.argv[1]); sys.argv[:2] = sys.argv[2:]; " \
      "runpy.run_path(sys.argv[0], run_name='__main__')"
os.execv(python, [python, "-c", run, os.path.dirname(os.path.abspath(script)), script])
