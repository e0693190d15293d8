# SPDX-License-Identifier: Apache-2.0
"""A tracker in a shared object of its own, made from the public headers only, is found by its
name and gets the rows; what does not load says why."""
import os, pathlib, shutil, subprocess, tempfile

SOURCE = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"])
LIBRARY = pathlib.Path(os.environ["ACCEL_BUILD_DIR"]) / "lib"
SANITIZE = os.environ.get("ACCEL_SANITIZE", "")

PLUGIN = r"""
#include <stdio.h>
#include <accel/plugin/tracker_v1.h>

static const accel_host_v1_t *the_host;

static accel_status_t create(void *context, const accel_tracker_init_t *init, void **tracker)
{
    (void)context;
    if (init->init_kwargs)
        return the_host->fail(ACCEL_ERR_INVALID, "'mine' takes no '%s'", init->init_kwargs->key);
    *tracker = stdout;
    return ACCEL_OK;
}

static accel_status_t log_row(void *tracker, const accel_item_t *values, int64_t step, double when)
{
    (void)when;
    fprintf(tracker, "%s %lld %d\n", values->key, (long long)step, (int)values->value.i);
    return ACCEL_OK;
}

static void destroy(void *tracker)
{
    fflush(tracker);
}

static const accel_tracker_class_t mine = {.struct_size = sizeof(mine), .name = NAME,
    .journaled = true, .create = create, .log = log_row, .destroy = destroy};

__attribute__((visibility("default"))) accel_status_t
SYMBOL(const accel_host_v1_t *host, const accel_tracker_class_t **tracker_class)
{
    the_host = host;
    *tracker_class = &mine;
    return ACCEL_OK;
}
"""

PROGRAM = r"""
#include <accel/accel.h>

int main(int argc, char **argv)
{
    accel_t *accelerator;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = argv[1]), &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "p", NULL,
        argc > 2 ? ACCEL_DICT("mine", ACCEL_DICT(argv[2], 1)) : NULL));
    for (int i = 0; i < 3; i++)
        ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("row", 10 * i), i));
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return 0;
}
"""


def compile(source, output, *flags):
    sanitize = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
    subprocess.run(["cc", "-std=c17", f"-I{SOURCE}/include", *sanitize, "-x", "c", "-",
                    "-o", output, *flags], input=source, text=True, check=True)


def run(program, *arguments, path=None):
    environment = {k: v for k, v in os.environ.items() if k != "ACCEL_PLUGIN_PATH"}
    if path:
        environment["ACCEL_PLUGIN_PATH"] = str(path)
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True,
                          timeout=60)


def must_fail(done, *texts):
    assert done.returncode == 1, done
    (line,) = done.stderr.splitlines()
    for text in texts:
        assert text in line, (text, line)


with tempfile.TemporaryDirectory() as directory:
    directory = pathlib.Path(directory)
    program = directory / "program"
    compile(PROGRAM, program, f"-L{LIBRARY}", "-laccel", f"-Wl,-rpath,{LIBRARY}")
    for name, symbol, class_name in (("mine", "accel_tracker_plugin_v1", "mine"),
                                     ("old", "accel_tracker_plugin_v0", "old"),
                                     ("other", "accel_tracker_plugin_v1", "mine")):
        compile(PLUGIN, directory / f"libaccel-tracker-{name}.so", "-shared", "-fPIC",
                f"-DSYMBOL={symbol}", f'-DNAME="{class_name}"')

    done = run(program, "mine", path=f"/nonexistent:{directory}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "row 0 0\nrow 1 10\nrow 2 20\n", ""), done
    must_fail(run(program, "mine", "colour", path=directory), "tracker 'mine': 'mine' takes no 'colour'")
    must_fail(run(program, "mine"), "there is no tracker 'mine'")
    must_fail(run(program, "old", path=directory), "libaccel-tracker-old.so has no symbol "
              "accel_tracker_plugin_v1", "another version")
    must_fail(run(program, "other", path=directory), "holds the tracker 'mine'")

    # Without the variable: accel/ beside the library, wherever that was moved to.
    moved = directory / "moved"
    (moved / "accel").mkdir(parents=True)
    for file in LIBRARY.glob("libaccel.so*"):
        shutil.copy(file, moved, follow_symlinks=False)
    (directory / "libaccel-tracker-mine.so").rename(moved / "accel" / "libaccel-tracker-mine.so")
    compile(PROGRAM, program, f"-L{moved}", "-laccel", f"-Wl,-rpath,{moved}")
    done = run(program, "mine")
    assert (done.returncode, done.stdout) == (0, "row 0 0\nrow 1 10\nrow 2 20\n"), done
    must_fail(run(program, "wandb"), "needs the plugin libaccel-tracker-wandb.so: not found in "
              f"{moved}/accel;", "accel-wandb")
