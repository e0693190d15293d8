# SPDX-License-Identifier: Apache-2.0
"""The rules that a program can check: calls that have no place in a library, licence lines, the
length of functions, files and lines."""
import re

from _gate import SOURCE, expect, files, finish, strip, write

FUNCTION_LINES = 80
FILE_LINES = 900
HEADER_LINES = 500
COLUMNS = 100

BANNED = {
    "exit": "a library does not end the program", "abort": "a library does not end the program",
    "atexit": "a library has no hooks in the program's end",
    "on_exit": "a library has no hooks in the program's end",
    "printf": "standard output is the program's", "vprintf": "standard output is the program's",
    "puts": "standard output is the program's", "putchar": "standard output is the program's",
    "signal": "signals are the program's", "sigaction": "signals are the program's",
    "setenv": "the environment is the program's", "unsetenv": "the environment is the program's",
    "putenv": "the environment is the program's",
    "getenv": "accel__env() reads the environment", "secure_getenv": "accel__env() reads it",
    "strtok": "keeps state", "rand": "keeps state", "srand": "keeps state",
    "strerror": "is not safe with threads: strerror_r",
    "sprintf": "does not know the room", "vsprintf": "does not know the room",
    "strcpy": "does not know the room", "strcat": "does not know the room",
    "gets": "does not know the room", "alloca": "does not know the room",
    "atoi": "takes half a number for one", "atol": "takes half a number for one",
    "atof": "takes half a number for one",
    "system": "a library starts no shells", "popen": "a library starts no shells",
}
# (file, function, call): reason. A function of None is the whole file.
EXCEPTIONS = {
    ("src/base/env.c", None, "getenv"): "the one place that reads the environment",
    ("src/accelerator/*.c", "accel_print", "*"): "printing to standard output is what it is for",
    ("plugins/tracker-wandb/monitor/capture.c", None, "stdout"): "it puts a recording stream there",
    ("src/launch/*.c", None, "signal"): "a child resets dispositions between fork and exec",
    ("src/comm/positions.c", None, "sigaction"): "a dump at a signal that the program names",
    ("src/track/wandb/wandb_init.c", None, "on_exit"): "a run that nobody finished, as in Python",
    ("src/launch/*.c", None, "sigaction"): "a child resets dispositions between fork and exec",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(|\b(stdout)\b")
LICENSED = {".c", ".h", ".inc", ".py", ".cmake", ".proto", ".cpp", ".hpp"}
TREE = ["include", "src", "plugins", "tools", "examples", "tests", "cmake", "scripts", ".ci",
        "adapters", "bench", "fuzz"]


def functions(text):
    """(name, first line, last line) of a .c file, by the layout: the braces in column 0."""
    lines = text.split("\n")
    begin = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            begin = number
        elif line == "}" and begin:
            head = " ".join(lines[max(0, begin - 8):begin - 1])
            names = re.findall(r"(\w+)\s*\((?=[^()]*(?:\([^()]*\)[^()]*)*\)\s*(?:\w+\s*(?:\(.*\))?\s*)?$)",
                               head)
            yield names[0] if names else "?", begin, number
            begin = None


def excepted(name, function, call):
    for pattern, allowed_in, allowed in EXCEPTIONS:
        glob = re.escape(pattern).replace(r"\*", ".*")
        if re.fullmatch(glob, name) and allowed_in in (None, function) and allowed in ("*", call):
            return True
    return False


def calls(root):
    for path in files(root, ["src", "plugins"], {".c", ".h", ".inc"}):
        name = str(path.relative_to(root))
        text = strip(path.read_text())
        spans = list(functions(text))
        for match in CALL.finditer(text):
            call = match.group(1) or match.group(2)
            if call == "getenv" and name.startswith("plugins/"):
                continue  # a plugin cannot reach accel__env(): see plugin_environment()
            line = text.count("\n", 0, match.start()) + 1
            inside = next((f for f, first, last in spans if first <= line <= last), None)
            if not excepted(name, inside, call):
                yield f"{name}:{line}: {call}: {BANNED.get(call, 'standard output is the program’s')}"


def plugin_environment(root):
    """A plugin reads its environment in one file."""
    readers = {}
    for path in files(root, ["plugins"], {".c", ".h", ".inc"}):
        if re.search(r"\b(secure_)?getenv\s*\(", strip(path.read_text())):
            readers.setdefault(path.parent, []).append(path.name)
    for folder, names in readers.items():
        if len(names) > 1:
            yield f"{folder.relative_to(root)}: getenv in several files: {' '.join(names)}"


def sizes(root):
    for path in files(root, ["include", "src", "plugins", "tools", "examples"], {".c", ".h", ".inc"}):
        name = path.relative_to(root)
        lines = path.read_text().split("\n")
        limit = HEADER_LINES if path.parts[len(root.parts)] == "include" else FILE_LINES
        if len(lines) - 1 > limit:
            yield f"{name}:{limit}: {len(lines) - 1} lines; at most {limit}"
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS:
                yield f"{name}:{number}: {len(line)} columns; at most {COLUMNS}"
            if line != line.rstrip() or "\t" in line:
                yield f"{name}:{number}: a tab, or blanks at the end"
        if path.suffix != ".c":
            continue
        for function, first, last in functions("\n".join(lines)):
            if last - first - 1 > FUNCTION_LINES:
                yield (f"{name}:{first}: {function}() has {last - first - 1} lines; "
                       f"at most {FUNCTION_LINES}")


def licences(root):
    for path in sorted(p for folder in TREE for p in (root / folder).rglob("*") if p.is_file()):
        script = path.parent.name in ("scripts", ".ci")
        if path.suffix not in LICENSED and path.name != "CMakeLists.txt" and not script:
            continue
        head = path.read_text().split("\n")[:3]
        if not any("SPDX-License-Identifier: Apache-2.0" in line for line in head):
            yield f"{path.relative_to(root)}:1: no SPDX-License-Identifier: Apache-2.0"


def problems(root):
    for gate in (calls, plugin_environment, sizes, licences):
        yield from gate(root)


BAD = """/* a comment may say exit() and stdout */
static void bad(const char *text)
{
    puts("x");
    exit (1);
    object->exit(1), accel_exit(1), snprintf(0, 0, "exit(1)");
}

void fine(void)
{
    printf("only here");
}
"""


def self_test(root):
    spdx = "/* SPDX-License-Identifier: Apache-2.0 */\n"
    write(root, "src/comm/bad.c", BAD)
    write(root, "src/comm/long.c",
          spdx + "int f(int (*g)(void),\n      int b)\n{\n" + "    f();\n" * 81 + "}\n")
    write(root, "src/base/env.c", spdx + 'char *get(void)\n{\n    return getenv("A");\n}\n')
    write(root, "src/comm/env.c", spdx + 'char *get(void)\n{\n    return getenv("A");\n}\n')
    write(root, "src/accelerator/print.c",
          spdx + "void accel_print(int a, ...)\n{\n    puts(\"\");\n}\n")
    write(root, "src/train/huge.c", spdx + "\n" * 900)
    write(root, "include/accel/wide.h", spdx + "// " + "x" * 98 + "\nint a; \n")
    write(root, "plugins/p/a.c", spdx + 'char *a = getenv("A");\n')
    write(root, "plugins/p/b.c", spdx + 'char *b = getenv("A");\n')
    expect(problems(root), "bad.c:4: puts", "bad.c:5: exit", "bad.c:11: printf", "bad.c:1: no SPDX",
           r"long.c:4: f\(\) has 81 lines", "comm/env.c:4: getenv", "huge.c:900: 901 lines",
           "wide.h:2: 101 columns", "wide.h:3: a tab", "plugins/p: getenv in several")


if __name__ == "__main__":
    finish("style", problems(SOURCE), self_test)
