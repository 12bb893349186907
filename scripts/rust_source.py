"""What the checks in this directory know of Rust. Imported, never run.

Nothing here is a parser: comments and literals are blanked by a small scanner, and the rest is read with
regular expressions. That suffices for sources that rustfmt has formatted."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
LITERAL = re.compile(
    r"""(?P<line>//[^\n]*)|(?P<block>/\*)|(?P<raw>\b[bc]?r(?P<hashes>\#*)")|(?P<string>\b[bc]?"|")"""
    r"""|(?P<char>b?'(?:[^'\\\n]|\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.))')"""
)
BLOCK_MARK = re.compile(r"/\*|\*/")
STRING_END = re.compile(r'\\.|"', re.DOTALL)
ATTRIBUTE = re.compile(r"#\s*\[")
ITEM = re.compile(
    r"(?:pub(?:\([^)]*\))?\s+)?(?:fn|mod|use|impl|struct|enum|union|trait|type|const|static|let|unsafe|extern|async"
    r"|macro_rules)\b"
)
PATH_ATTRIBUTE = r'#\[path\s*=\s*"([^"]+)"\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+%s\s*;'
TEST_MODULE = re.compile(r"\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;")


def tracked(*patterns):
    """The files of the repository, as git names them, that match any of the patterns. What is new and not yet
    added is one of them, what is deleted is none."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    names = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT, text=True).stdout
    return sorted({name for name in names.split("\0") if name and (ROOT / name).is_file()})


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def spaces(text):
    return re.sub(r"[^\n]", " ", text)


def scan(text):
    """Yields (start, end, is_comment) of each comment and each literal."""
    at = 0
    while match := LITERAL.search(text, at):
        end = match.end()
        if match["block"]:
            depth = 1
            while depth and (mark := BLOCK_MARK.search(text, end)):
                depth += 1 if mark[0] == "/*" else -1
                end = mark.end()
        elif match["raw"]:
            found = text.find('"' + match["hashes"], end)
            end = len(text) if found < 0 else found + 1 + len(match["hashes"])
        elif match["string"]:
            while (mark := STRING_END.search(text, end)) and mark[0] != '"':
                end = mark.end()
            end = mark.end() if mark else len(text)
        yield match.start(), end, bool(match["line"] or match["block"])
        at = end


def blanked(text):
    """The text with spaces for comments and literals; places and lines stay."""
    out, at = [], 0
    for start, end, _ in scan(text):
        out += [text[at:start], spaces(text[start:end])]
        at = end
    return "".join(out) + text[at:]


def balanced(code, at):
    """The place after the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(code)):
        if code[place] in "([{":
            depth += 1
        elif code[place] in ")]}":
            depth -= 1
            if depth == 0:
                return place + 1
    return len(code)


def item_end(code, at):
    """The place after the item, field, arm or statement whose attributes, if any, begin at `at`."""
    while True:
        at += len(code[at:]) - len(code[at:].lstrip())
        if not (match := ATTRIBUTE.match(code, at)):
            break
        at = balanced(code, match.end() - 1)
    is_item = ITEM.match(code, at)
    while at < len(code):
        if code[at] in "([":
            at = balanced(code, at)
        elif code[at] == "{":
            return balanced(code, at)
        elif code[at] == ";" or (code[at] == "," and not is_item):
            return at + 1
        elif code[at] in ")]}":
            return at
        else:
            at += 1
    return at


def is_for_tests(attribute):
    """Whether an attribute keeps its item out of every build but that of tests."""
    inner = re.sub(r"\s+", "", attribute)
    return bool(re.match(r"#\[cfg\(", inner) and re.search(r"\btest\b", inner) and "not(test" not in inner)


def without_tests(code):
    """Blanked code, with spaces also for what is compiled for tests only."""
    at = 0
    while match := ATTRIBUTE.search(code, at):
        at = balanced(code, match.end() - 1)
        if is_for_tests(code[match.start() : at]):
            end = item_end(code, at)
            code = code[: match.start()] + spaces(code[match.start() : end]) + code[end:]
            at = end
    return code


def child_file(file, name, text, inline):
    """The file of `mod name;` in `file`, inside of the inline modules `inline`."""
    path = pathlib.PurePosixPath(file)
    if match := re.search(PATH_ATTRIBUTE % name, text):
        return str(path.parent / match[1])
    owns_directory = path.name in ("mod.rs", "lib.rs", "main.rs") or is_root(file)
    base = path.parent if owns_directory else path.with_suffix("")
    base = base.joinpath(*inline)
    for found in (base / f"{name}.rs", base / name / "mod.rs"):
        if (ROOT / found).is_file():
            return str(found)
    return None


def is_root(file):
    """Whether cargo finds a crate's root in this file."""
    path = pathlib.PurePosixPath(file)
    package = next(
        (p for p in path.parents if (ROOT / p / "Cargo.toml").is_file()), pathlib.PurePosixPath(".")
    )
    parts = path.relative_to(package).parts
    if parts in (("build.rs",), ("src", "lib.rs"), ("src", "main.rs")):
        return True
    places = ("tests", "examples", "benches", "fuzz_targets", "bin")
    if parts[0] == "src":
        parts = parts[1:]
    return len(parts) > 1 and parts[0] in places and (len(parts) == 2 or parts[2:] == ("main.rs",))


def modules_for_tests(file):
    """The files of the modules that a file declares for tests only."""
    text = read(file)
    code = blanked(text)
    for match in ATTRIBUTE.finditer(code):
        end = balanced(code, match.end() - 1)
        if is_for_tests(code[match.start() : end]) and (module := TEST_MODULE.match(code, end)):
            if child := child_file(file, module[1], text, []):
                yield child


def test_files():
    """The Rust files that are in builds of tests only: modules for tests, with those below them."""
    found = {child for file in tracked("*.rs") for child in modules_for_tests(file)}
    below = tuple(name.removesuffix("mod.rs") if name.endswith("/mod.rs") else name[:-3] + "/" for name in found)
    return found | {name for name in tracked("*.rs") if name.startswith(below)}
