# SPDX-License-Identifier: Apache-2.0
"""What the library and its plugins export and link; its size; and that it keeps no state of its own
but what is named here, with the reason."""
import re
import sys

from _gate import BUILD, SANITIZE, SKIPPED, expect, finish, need, run, write

LIBRARIES = {"libc.so.6", "libm.so.6", "libjansson.so.4", "libpthread.so.0", "libdl.so.2"}
LOADER = re.compile(r"ld-linux.*\.so\.\d")  # named where thread-local variables are used
PLUGIN_EXPORT = {"tracker": "accel_tracker_plugin_v1"}
SIZE_LIMIT = 1 << 20

# Variables that may change, with the reason why each may be there. All others live in objects.
STATE = {
    "base/error.c:failures": "how many errors a thread has made",
    "base/error.c:last_error": "like errno: the last error's line, a thread",
    "base/error.c:site_file": "where a thread's caller stands",
    "base/error.c:site_line": "where a thread's caller stands",
    "base/fork.c:forks": "a forked child must not act in its parent's place",
    "base/fork.c:once": "a forked child must not act in its parent's place",
    "base/log.c:in_sink": "a thread inside the sink must not wait for the sink's lock",
    "base/log.c:lock": "messages go to stderr or one callback, process-wide as stderr is",
    "base/log.c:sink": "messages go to stderr or one callback, process-wide as stderr is",
    "base/log.c:sink_context": "messages go to stderr or one callback, process-wide as stderr is",
    "base/log.c:threshold": "messages go to stderr or one callback, process-wide as stderr is",
    "base/span.c:active": "what a thread is profiled into",
    "comm/comm.c:worlds_joined": "tells a process's first meeting of ranks from its second",
    "comm/positions.c:dumping": "a signal's dump reads what it lists",
    "comm/positions.c:listed": "a signal comes to the process: it has to find the communicators",
    "track/registry.c:registered": "classes of the program's own are registered process-wide",
    "track/wandb/wandb_init.c:open_runs": "runs that exit() finishes, process-wide as exit() is",
    "track/tracker.c:in_slot": "a thread inside a slot must not wait for that slot",
}


def exported(path):
    lines = run("nm", "-D", "--defined-only", path).splitlines()
    return [line.split()[-1].split("@")[0] for line in lines]


def check_exports(path, allowed):
    for symbol in exported(path):
        if not re.fullmatch(allowed, symbol):
            yield f"{path.name}:0: exports {symbol}"


def check_links(path, libraries=LIBRARIES):
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-dW", path))
    for library in needed:
        if library not in libraries and not LOADER.fullmatch(library):
            yield f"{path.name}:0: links {library}"


def check_size(path, limit, scratch):
    stripped = scratch / path.name
    run("strip", "-o", stripped, path)
    if stripped.stat().st_size > limit:
        yield f"{path.name}:0: {stripped.stat().st_size} bytes; at most {limit}"


def variables(path):
    """Names of the objects of an object file that can be written to after loading."""
    sections = {}
    text = run("readelf", "-SW", path)
    for number, name in re.findall(r"\[\s*(\d+)\] (\S+)", text):
        sections[number] = name
    for line in run("readelf", "-sW", path).splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[3] not in ("OBJECT", "TLS"):
            continue
        section = "COMMON" if fields[6] == "COM" else sections.get(fields[6], "")
        if re.match(r"\.(data|bss|tdata|tbss)|COMMON", section) and ".rel.ro" not in section:
            yield re.sub(r"\.\d+$", "", fields[7])


def check_state(folder, allowed):
    for path in sorted(folder.rglob("*.o")):
        source = str(path.relative_to(folder))[:-len(".o")]
        for name in variables(path):
            if f"{source}:{name}" not in allowed:
                yield f"src/{source}:0: {name} can change, and lies in no object of the user's"


def problems(scratch):
    library = (BUILD / "lib" / "libaccel.so").resolve()
    yield from check_exports(library, r"accel_[a-z].*")
    yield from check_links(library)
    yield from check_size(library, SIZE_LIMIT, scratch)
    yield from check_state(BUILD / "src/CMakeFiles/accel_objects.dir", STATE)
    for plugin in sorted((BUILD / "lib" / "accel").glob("libaccel-*.so")):
        kind = plugin.name.split("-")[1]
        yield from check_exports(plugin, PLUGIN_EXPORT[kind])
        if "libaccel.so" in run("readelf", "-dW", plugin):
            yield f"{plugin.name}:0: links the library; what it needs comes in the host table"


def self_test(scratch):
    source = write(scratch, "bad.c", "#include <math.h>\n#include <stdio.h>\n"
                   "int accel_good; static int counter; int acl_bad; const int fixed = 1;\n"
                   "static const char *const names[] = {\"a\"};\n"
                   "static _Thread_local int mine;\n"
                   "int accel__inner(int i); int accel__inner(int i)\n"
                   "{ static int calls; puts(names[0]); return ++counter + ++mine + ++calls + i; }\n")
    run("gcc", "-fPIC", "-c", source, "-o", scratch / "bad.c.o")
    expect(check_state(scratch, {"bad.c:mine": ""}), "accel_good", "counter", "acl_bad", "calls can")
    run("gcc", "-shared", "-Wl,--no-as-needed", scratch / "bad.c.o", "-o", scratch / "libbad.so", "-lm")
    expect(check_exports(scratch / "libbad.so", "accel_[a-z].*"), "acl_bad", "fixed", "accel__inner")
    expect(check_size(scratch / "libbad.so", 1000, write(scratch, "s/x", "").parent), "at most 1000")
    expect(check_links(scratch / "libbad.so", {"libc.so.6"}), "links libm")
    expect(check_links(scratch / "libbad.so"))


if __name__ == "__main__":
    need("gcc", "nm", "readelf", "strip")
    if SANITIZE:
        print("skipped: a sanitizer adds symbols and libraries of its own")
        sys.exit(SKIPPED)
    import pathlib
    import tempfile
    with tempfile.TemporaryDirectory(prefix="accel-symbols-") as name:
        found = list(problems(pathlib.Path(name)))
    finish("symbols", found, self_test)
