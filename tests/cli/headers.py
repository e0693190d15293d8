# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""Every public header compiles alone, as C17 and as C++17, with gcc and clang, pedantically; the
macros mean the same in both languages; the README's program is both."""
import pathlib
import shutil
import subprocess
import sys

from _gate import SKIPPED, SOURCE, expect, files, run, write

import tempfile

FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
LANGUAGES = [("gcc", "c", "c17"), ("clang", "c", "c17"), ("g++", "c++", "c++17"),
             ("clang++", "c++", "c++17")]

# One body, two languages. It prints what the macros built; the prints must be equal.
BODY = r"""
#include <accel/accel.h>
#include <accel/launch.h>
#include <accel/wandb.h>
#include <stdio.h>

static void show(const accel_item_t *item)
{
    for (; item->type != ACCEL_TYPE_END; item++) {
        printf("%s:%d", item->key, (int)item->type);
        if (item->type == ACCEL_TYPE_BOOL)
            printf("=%d", (int)item->value.b);
        if (item->type == ACCEL_TYPE_INT)
            printf("=%lld", (long long)item->value.i);
        if (item->type == ACCEL_TYPE_UINT)
            printf("=%llu", (unsigned long long)item->value.u);
        if (item->type == ACCEL_TYPE_FLOAT)
            printf("=%a", item->value.f);
        if (item->type == ACCEL_TYPE_STRING)
            printf("=%s", item->value.s);
        if (item->type == ACCEL_TYPE_DICT || item->type == ACCEL_TYPE_LIST) {
            printf("=(");
            show(item->value.dict);
            printf(")");
        }
        printf(" ");
    }
}

static void show_options(const accel_options_t *options)
{
    printf("%d %s %d %d\n", options->struct_size == sizeof(*options), options->log_with,
           (int)options->gradient_accumulation_steps, (int)options->even_batches);
}

static void show_shape(int32_t ndim, const int64_t *shape)
{
    for (int32_t i = 0; i < ndim; i++)
        printf("%lld ", (long long)shape[i]);
    printf("\n");
}

#ifdef FOUR_LINES /* compiled; it runs in the tests that have the library */
static void four_lines(accel_model_t *model, accel_optimizer_t *optimizer,
                              accel_loader_t *loader, accel_scheduler_t *scheduler)
{
    accel_t *accelerator;
    accel_batch_t batch;
    float losses[3] = {1, 2, 3};
    accel_tensor_t *all;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "my_project",
                                    ACCEL_DICT("dropout", 0.1, "learning_rate", 1e-2),
                                    ACCEL_DICT("wandb", ACCEL_DICT("entity", "my-wandb-team"))));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, loader, scheduler));
    while (ACCEL_NEXT(loader, &batch)) {
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("loss", losses[0]), ACCEL_NO_STEP));
        ACCEL_CHECK(accel_gather_for_metrics(accelerator, ACCEL_TENSOR(losses, ACCEL_F32, 3), &all));
    }
    ACCEL_ON_MAIN_PROCESS(accelerator)
        ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("loss", losses[0]), 1));
    ACCEL_ON_PROCESS(accelerator, 1) {
        printf("process 1\n");
    }
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
}
#endif

int main(int argc, char **argv)
{
    const char *none = NULL;
    int8_t small = -3;
    uint64_t large = UINT64_MAX;
    int evaluated = 0;
    char buffer[8] = "b", *pointer = buffer;

    (void)argc, (void)argv;
#ifdef FOUR_LINES
    four_lines(NULL, NULL, NULL, NULL);
#endif
    show(ACCEL_DICT("i", 1, "l", -2L, "ll", 3LL, "u", 4U, "max", large, "small", small, "f", 0.5F,
                    "d", 1e-2, "s", "text", "none", none, "t", ACCEL_TRUE, "n", ++evaluated));
    show(ACCEL_DICT("a", ACCEL_DICT("b", ACCEL_DICT("c", ACCEL_DICT("d", 1)))));
    show(ACCEL_DICT("tags", ACCEL_LIST("a", 2, 3.5), "after", 1));
    show(ACCEL_DICT("nested", ACCEL_LIST(ACCEL_LIST("a")), "buffer", buffer, "pointer", pointer,
                    "void", (void *)buffer, "byte", (unsigned char)200));
    show(ACCEL_DICT("1", 1, "2", 2, "3", 3, "4", 4, "5", 5, "6", 6, "7", 7, "8", 8, "9", 9, "10", 10,
                    "11", 11, "12", 12, "13", 13, "14", 14, "15", 15, "16", 16, "17", 17, "18", 18,
                    "19", 19, "20", 20, "21", 21, "22", 22, "23", 23, "24", 24, "25", 25, "26", 26,
                    "27", 27, "28", 28, "29", 29, "30", 30, "31", 31, "32", 32));
    printf("%d\n", evaluated);
    show_options(ACCEL_OPTIONS(.log_with = "wandb", .gradient_accumulation_steps = 4,
                               .even_batches = ACCEL_OFF));
    show_shape(ACCEL_SHAPE(128, 64, 3));
    return 0;
}
"""
# What must not compile: an odd count, and a type that is not in the table.
WRONG = ["ACCEL_DICT(\"a\", 1, \"b\")", "ACCEL_DICT(\"a\", x)", "ACCEL_DICT(\"a\", &x)"]


def compile_only(compiler, language, standard, path, *more):
    command = [compiler, "-x", language, f"-std={standard}", *FLAGS, *more,
               "-I", str(SOURCE / "include"), "-fsyntax-only", str(path)]
    return subprocess.run(command, text=True, capture_output=True)


def each_header_alone(folder, compilers):
    for header in files(SOURCE, ["include"], {".h"}):
        name = header.relative_to(SOURCE / "include")
        unit = write(folder, "alone.c", f"#include <{name}>\n#include <{name}>\nint alone;\n")
        for compiler, language, standard in compilers:
            more = ["-Wno-missing-variable-declarations"] if compiler.startswith("clang") else []
            result = compile_only(compiler, language, standard, unit, *more)
            if result.returncode != 0:
                yield f"{name}: {compiler} -std={standard}:\n{result.stderr}"


def one_body(folder, compilers):
    """The same text in both languages prints the same."""
    unit = write(folder, "body.c", BODY)
    prints = {}
    for compiler, language, standard in compilers:
        program = folder / f"body-{compiler}"
        run(compiler, "-x", language, f"-std={standard}", *FLAGS, "-I", SOURCE / "include", unit,
            "-o", program)
        result = compile_only(compiler, language, standard, unit, "-DFOUR_LINES")
        if result.returncode != 0:
            yield f"the four lines: {compiler} -std={standard}:\n{result.stderr}"
        prints[compiler] = run(program)
    first = prints[compilers[0][0]]
    assert "max:4=18446744073709551615" in first and "32:3=32" in first, first
    assert "tags:8=(:6=a :3=2 :5=0x1.cp+1 )" in first and "none:1 " in first, first
    assert "nested:8=(:8=(:6=a ) ) buffer:6=b pointer:6=b void:1 byte:4=200" in first, first
    assert "\n1 wandb 4 2\n128 64 3" in first, first
    for compiler, text in prints.items():
        if text != first:
            yield f"the macros differ: {compiler} gives\n{text}\n{compilers[0][0]} gives\n{first}"


def what_must_not_compile(folder, compilers):
    for expression in WRONG:
        unit = write(folder, "wrong.c", "#include <accel/dict.h>\nvoid f(void);\nvoid f(void)\n{\n"
                     f"    struct other {{ int a; }} x = {{0}};\n    (void)x;\n    (void){expression};\n}}\n")
        for compiler, language, standard in compilers:
            if compile_only(compiler, language, standard, unit).returncode == 0:
                yield f"{compiler} -std={standard} compiles {expression}"


def example(compilers):
    """The README's program is C that is C++ too."""
    path = SOURCE / "examples" / "minimal.c"
    for compiler, language, standard in compilers:
        result = subprocess.run(
            [compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-I",
             str(SOURCE / "include"), "-fsyntax-only", str(path)], text=True, capture_output=True)
        if result.returncode != 0:
            yield f"{path.name}: {compiler} -std={standard}:\n{result.stderr}"


def self_test(folder, compilers):
    """A header that needs another, or is no C++, is found."""
    unit = write(folder, "bad.c", "static int64_t lone(void) { return 0; }\n")
    for compiler, language, standard in compilers:
        result = compile_only(compiler, language, standard, unit)
        expect([result.stderr] if result.returncode else [], "int64_t")


def main():
    compilers = [entry for entry in LANGUAGES if shutil.which(entry[0])]
    missing = [entry[0] for entry in LANGUAGES if entry not in compilers]
    with tempfile.TemporaryDirectory(prefix="accel-headers-") as name:
        folder = pathlib.Path(name)
        self_test(folder, compilers)
        problems = [*each_header_alone(folder, compilers), *one_body(folder, compilers),
                    *what_must_not_compile(folder, compilers), *example(compilers)]
    print("\n".join(problems))
    print(f"headers: {len(problems)} problems with {' '.join(entry[0] for entry in compilers)}")
    if problems:
        sys.exit(1)
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
