# SPDX-License-Identifier: Apache-2.0
"""The program with a run and no accelerator, as the stock package reads what it left."""
import json
import os
import subprocess
import tempfile

import _wandb_log

HELLO = f"{os.environ['ACCEL_BUILD_DIR']}/examples/wandb_hello"

with tempfile.TemporaryDirectory() as folder:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run([HELLO], cwd=folder, capture_output=True, text=True, timeout=60,
                          env={**clean, "WANDB_MODE": "offline", "HOME": folder})
    assert done.returncode == 0 and done.stdout == "", done
    assert "wandb: You can sync this run to the cloud by running:" in done.stderr, done.stderr
    records = [record for record in _wandb_log.records(_wandb_log.find_log(folder + "/wandb"))]
    kinds = [record.WhichOneof("record_type") for record in records]
    assert kinds.count("history") == 100 and kinds[-1] == "exit", kinds
    last = {"/".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in records[max(i for i, kind in enumerate(kinds) if kind == "history")]
            .history.item}
    assert last["_step"] == 99 and abs(last["loss"] - 2.7182818284590452 ** -9.9) < 1e-12, last
