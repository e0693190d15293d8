# SPDX-License-Identifier: Apache-2.0
"""libtorch and C++ are needed by those who use them alone: not by the library, its tool, its plugins or
a program without PyTorch models. libaccel_torch exports what its header declares, and no more."""
import re
import sys

from _gate import BUILD, SANITIZE, SKIPPED, SOURCE, expect, finish, need, run, strip, write
from symbols import LOADER, exported

CPP = re.compile(r"lib(torch|c10|stdc\+\+|accel_torch)")
OURS = re.compile(r"lib(accel|torch_cpu|c10|stdc\+\+|gcc_s|c|m)\.so[.\d]*")


def dynamic(path, tag):
    return re.findall(rf"\({tag}\).*\[(.*)\]", run("readelf", "-dW", path))


def without_torch():
    """What was built without a word of libtorch."""
    yield (BUILD / "lib/libaccel.so").resolve()
    yield from sorted((BUILD / "lib/accel").glob("*.so"))
    yield from sorted(path for path in (BUILD / "bin").glob("accel*") if path.is_file())
    for path in sorted((BUILD / "examples").glob("[!.]*")):
        torch = path.name.startswith("torch-") or path.suffix == ".so"  # a module for torch-gpt_c
        if path.is_file() and path.read_bytes()[:4] == b"\x7fELF" and not torch:
            yield path


def check_needs_no_torch(path):
    for library in dynamic(path, "NEEDED"):
        if CPP.match(library):
            yield f"{path.name}:0: links {library}"
    for line in run("nm", "-D", path).splitlines():
        symbol = line.split()[-1]
        if re.match(r"_Z|accel_torch_", symbol):
            yield f"{path.name}:0: has the symbol {symbol}"


def declared(header):
    return set(re.findall(r"\b(accel_torch_[a-z_]+)\(", re.sub(r"#define.*", "", strip(header.read_text()))))


def check_exports(path, wanted):
    found = set(exported(path))
    for name in sorted(found - wanted):
        yield f"{path.name}:0: exports {name}, which its header does not declare"
    for name in sorted(wanted - found):
        yield f"{path.name}:0: lacks {name}, which its header declares"


def check_links(path, soname):
    for library in dynamic(path, "NEEDED"):
        if not OURS.fullmatch(library) and not LOADER.fullmatch(library):
            yield f"{path.name}:0: links {library}"
    if dynamic(path, "SONAME") != [soname]:
        yield f"{path.name}:0: its name is {dynamic(path, 'SONAME')}; expected {soname}"
    if "TEXTREL" in run("readelf", "-dW", path):
        yield f"{path.name}:0: has text relocations"
    if not re.search(r"GNU_STACK.* RW +0x", run("readelf", "-lW", path)):
        yield f"{path.name}:0: its stack is executable, or may be"


def problems():
    version = re.search(r'ACCEL_VERSION "(\d+\.\d+)\.', (SOURCE / "include/accel/version.h").read_text()).group(1)
    for path in without_torch():
        yield from check_needs_no_torch(path)
    for path in sorted(BUILD.glob("lib/torch-*/libaccel_torch.so")):
        yield from check_exports(path, declared(SOURCE / "include/accel/torch.h"))
        yield from check_links(path, f"libaccel_torch.so.{version}")


def self_test(scratch):
    source = write(scratch, "bad.cpp", '#include <string>\nextern "C" { int accel_torch_b(const char *c);\n'
                   "int accel_torch_b(const char *c) { return std::stoi(c); } }\n")
    header = write(scratch, "bad.h", "ACCEL_API int accel_torch_a(void); /* not accel_torch_c() */\n"
                   "#define ACCEL_TORCH_X(...) accel_torch_d()\n")
    bad = scratch / "libbad.so"
    run("g++", "-shared", "-fPIC", "-z", "execstack", source, "-o", bad)
    assert declared(header) == {"accel_torch_a"}, declared(header)
    expect((p for p in check_exports(bad, declared(header)) if "_Z" not in p), "exports accel_torch_b",
           "lacks accel_torch_a")
    expect((p for p in check_needs_no_torch(bad)), "links libstdc", "has the symbol _Z", "symbol accel_torch_b")
    expect(check_links(bad, "libgood.so.1"), "expected libgood", "stack is executable")


if __name__ == "__main__":
    need("g++", "nm", "readelf")
    if SANITIZE:
        print("skipped: a sanitizer adds symbols and libraries of its own")
        sys.exit(SKIPPED)
    finish("torch_symbols", problems(), self_test)
