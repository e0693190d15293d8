# SPDX-License-Identifier: Apache-2.0
"""The build under test, and the libtorches that it was made with."""
import os
import pathlib
import sys

BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
SKIPPED = 77


def versions(program):
    """Of which bin/PROGRAM-VERSION is there, the oldest first; ends a test that has none as skipped."""
    found = [path.name.rsplit("-", 1)[1] for path in BUILD.glob(f"bin/{program}-*")]
    if not found:
        print("skipped: built without libtorch")
        sys.exit(SKIPPED)
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])
