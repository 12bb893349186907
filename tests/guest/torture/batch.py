#!/usr/bin/env python3
"""Compile GCC's execute tests, many at a time: of the time that a compiler takes for one of them, nine
tenths are its start.

    batch.py --cc CC --nm NM --flags FLAGS --libraries FILE --jobs N LIST SOURCES STATE

LIST has lines `number name options`; FILE the symbols that the C library has. Written to the current
directory:
    batch-*.o    objects of many tests; the `main` of test 5 is called t5_main in them
    alone        the lines of the tests that have to be compiled by themselves
    batched      the numbers of those that the objects hold
    undefined    symbols that no library has; only tests that are in `alone`, too, want them
STATE, a file, remembers from one level of optimisation to the next which tests cannot share a file.

In a file that tests share, each test's own identifiers get its number in front, in its macros as well.
Not renamed are keywords, what begins with two underscores, what the C library or the headers define, and
names of attributes. Tests for which that is not safe (assembly, pragmas, strings made of names, macros
over what is not renamed, an unclear `main`), that do not compile together with others, or that define
what is not renamed, are compiled alone; so whatever this does not understand costs time and nothing else."""

import argparse
import collections
import concurrent.futures
import pathlib
import re
import subprocess
import sys

BATCH = 48
HEADERS = {f"{name}.h" for name in "stdarg limits stdlib stdio string float stddef stdint stdbool math".split()}
KEYWORDS = set(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register"
    " restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof"
    " defined alloca linux unix".split()
)
TOKEN = re.compile(
    r"""(?P<skip>/\*.*?\*/|//[^\n]*|(?:u8|[uUL])?"(?:\\.|[^"\\\n])*"|[uUL]?'(?:\\.|[^'\\\n])*'|\.?\d(?:[eEpP][+-]|[\w.])*)"""
    r"""|(?P<directive>^[ \t]*\#[ \t]*(?:include[^\n]*|\w*))|(?P<name>[A-Za-z_$][\w$]*)|(?P<bracket>[(){}])""",
    re.DOTALL | re.MULTILINE,
)
# What needs a file of its own.
ALONE = re.compile(
    r"\basm\b|__asm|#\s*pragma|_Pragma|\b__(?:FUNCTION|PRETTY_FUNCTION|func|COUNTER|FILE|BASE_FILE|INCLUDE_LEVEL)_*\b|\b__func__\b"
    r"|alias|ifunc|constructor|destructor|\bsection\b|[^#]#[ \t]*[A-Za-z_]\w*[ \t]*[),;\\\"]|\?\?[=/'()!<>-]"
)


class Test:
    def __init__(self, line, sources):
        self.line = line
        self.number, self.name, *options = line.split()
        self.options = tuple(options)
        self.text = (sources / f"{self.name}.c").read_text(encoding="latin-1")
        self.includes = tuple(sorted(re.findall(r'^[ \t]*#[ \t]*include\s*[<"]([^>"]*)[>"]', self.text, re.MULTILINE)))
        self.names = {m["name"] for m in TOKEN.finditer(self.text) if m["name"]}
        self.end = end_of_main(self.text)
        self.macros = set(re.findall(r"^[ \t]*#[ \t]*(?:define|undef)[ \t]+(\w+)", self.text, re.MULTILINE))

    def can_share(self, kept):
        free = not ALONE.search(self.text) and not any(kept(m) for m in self.macros)
        return free and self.end is not None and set(self.includes) <= HEADERS

    def renamed(self, kept):
        """The text with the test's number in front of its own names."""
        # Attributes' names are kept, and what `mode` is given; a macro is not.
        depth, attribute = 0, None

        def replace(match):
            nonlocal depth, attribute
            name = match["name"]
            if match[0] in ("(", ")") and attribute is not None:
                depth += 1 if match[0] == "(" else -1
                if depth == 0:
                    attribute = None
            if not name:
                return match[0]
            if name in ("__attribute__", "__attribute"):
                depth, attribute = 0, ""
                return name
            if attribute is not None and name not in self.macros:
                if depth == 2:
                    attribute = name
                    return name
                if attribute.strip("_") == "mode":
                    return name
            return name if kept(name) else f"t{self.number}_{name}"

        # By another name, `main` would not return 0 at its end.
        return TOKEN.sub(replace, f"{self.text[: self.end]} return 0; {self.text[self.end :]}")


def end_of_main(text):
    """Where the body of `main` ends: nothing if that is not plain to see."""
    tokens = list(TOKEN.finditer(text))
    if sum(token["name"] == "main" for token in tokens) != 1:
        return None
    # Directives in it must all be at one depth: then what they leave out is whole blocks.
    seen, depth, directives = False, 0, set()
    for token in tokens:
        if token["name"] == "main" and depth == 0:
            seen = True
        elif seen and token["directive"]:
            directives.add(depth)
            if len(directives) > 1:
                return None
        elif token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if seen and depth == 0:
                return token.start()
    return None


def run(command, **kwargs):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="latin-1", **kwargs)


def header_names(cc, headers):
    text = "".join(f"#include <{name}>\n" for name in sorted(headers))
    done = run([cc, "-E", "-dD", "-"], input=text, check=True)
    # Of a macro only the name: its parameters are its own.
    text = re.sub(r"^#define (\w+).*|^#.*", r"\1", done.stdout, flags=re.MULTILINE)
    return set(re.findall(r"[A-Za-z_]\w*", text))


def compile_batch(args, kept, number, tests):
    """Compiles tests that share their options and headers; gives those that have to be alone, and what their
    object wants."""
    alone = set()
    source, target = pathlib.Path(f"batch-{number}.c"), pathlib.Path(f"batch-{number}.o")
    while len(tests) > 1:
        with source.open("w", encoding="latin-1") as file:
            for test in tests:
                file.write(f'#line 1 "test-{test.number}.c"\n{test.renamed(kept)}\n')
        done = run([args.cc, *args.flags.split(), *tests[0].options, "-w", "-c", "-o", str(target), str(source)])
        if done.returncode:
            bad = {m[1] for line in done.stderr.splitlines() if (m := re.match(r"test-(\d+)\.c:.*\berror:", line))}
            bad = bad or {test.number for test in tests}
        else:
            symbols = run([args.nm, str(target)], check=True).stdout
            symbols = [(m[1], m[2]) for m in re.finditer(r"^[0-9a-f ]* ([A-Za-z]) (\S+)$", symbols, re.MULTILINE)]
            foreign = {
                name
                for kind, name in symbols
                if not re.match(r"t\d+_", name) and (name not in args.known if kind == "U" else kind.isupper())
            }
            bad = {test.number for test in tests if test.names & foreign}
            if foreign and not bad:
                bad = {test.number for test in tests}
            if not bad:
                undefined = {name for kind, name in symbols if kind in "Uw" and re.match(r"t\d+_", name)}
                return alone, {test.number for test in tests}, undefined
        alone |= bad
        tests = [test for test in tests if test.number not in bad]
    target.unlink(missing_ok=True)
    return alone | {test.number for test in tests}, set(), set()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--cc", "--nm", "--flags", "--libraries"):
        parser.add_argument(option, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("list", type=pathlib.Path)
    parser.add_argument("sources", type=pathlib.Path)
    parser.add_argument("state", type=pathlib.Path)
    args = parser.parse_args()
    args.known = set(pathlib.Path(args.libraries).read_text().split())
    names = KEYWORDS | args.known | header_names(args.cc, HEADERS)

    def kept(name):
        return name in names or re.match("_[A-Z_]", name)

    tests = [Test(line, args.sources) for line in args.list.read_text().splitlines()]
    alone = set(args.state.read_text().split()) if args.state.exists() else set()
    alone |= {test.number for test in tests if not test.can_share(kept)}
    groups = collections.defaultdict(list)
    for test in tests:
        if test.number not in alone:
            groups[test.options, test.includes].append(test)
    batches = [group[i : i + BATCH] for group in groups.values() for i in range(0, len(group), BATCH)]
    batched, undefined = set(), set()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(compile_batch, args, kept, number, batch) for number, batch in enumerate(batches)]
        for job in jobs:
            unfit, fit, wanted = job.result()
            alone |= unfit
            batched |= fit
            undefined |= wanted
    args.state.write_text("\n".join(sorted(alone)) + "\n")
    # What no library has: whether the test can be built by itself is found out there.
    batched -= {name[1:].split("_")[0] for name in undefined}
    pathlib.Path("alone").write_text("".join(f"{t.line}\n" for t in tests if t.number not in batched))
    pathlib.Path("batched").write_text("".join(f"{t.number}\n" for t in tests if t.number in batched))
    pathlib.Path("undefined").write_text("".join(f"{name}\n" for name in sorted(undefined)))


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"batch.py: {error}")
