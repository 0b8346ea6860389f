"""Reads the workspace's Rust files for count-code and module-cycles: what is code, what is a comment, what is a test."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Not production: the simulated cluster with its suite, the fuzzing workspace, and what the build writes.
OTHER_FOLDERS = {"tests", "fuzz", "target", "benches", "examples"}

TOKEN = re.compile(
    r"""(?P<doc>//!|///(?!/))[^\n]*
      | (?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<text>[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)
               | [bc]?"(?:\\.|[^"\\])*"
               | b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])')""",
    re.VERBOSE | re.DOTALL,
)
TEST_ONLY = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]")
ATTRIBUTE = re.compile(r"\s*#\[[^\]]*\]")
FIELD = re.compile(r"\s*(?:pub(?:\([^)]*\))?\s+)?\w+\s*:[^:]")
TEST_MODULE = re.compile(TEST_ONLY.pattern + r"(?:\s*#\[[^\]]*\])*\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+);")
# What a crate gives the tests of other crates.
SAMPLES_MODULE = re.compile(r'#\[cfg\(feature = "samples"\)\]\s*pub mod (\w+);')


def plain(source):
    """The source without comments, and with its strings blacked out: same lines, no surprises in braces."""

    def replaced(token):
        if token["text"]:
            return re.sub(r"\S", "s", token[0])
        return re.sub(r"[^\n]", "", token[0])

    return TOKEN.sub(replaced, source)


def item_end(code, start):
    """The end of the item that begins here: its closing brace, semicolon, or, for a field, comma."""
    while attribute := ATTRIBUTE.match(code, start):
        start = attribute.end()
    ends = ";," if FIELD.match(code, start) else ";"
    depth = 0
    for at in range(start, len(code)):
        letter = code[at]
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth < 0:
                return at
            if depth == 0 and letter == "}":
                return at + 2 if code.startswith(";", at + 1) else at + 1
        elif depth == 0 and letter in ends:
            return at + 1
    return len(code)


def without_tests(code):
    """Plain code without the items that only tests have; their lines stay, empty."""
    while found := TEST_ONLY.search(code):
        end = item_end(code, found.end())
        code = code[: found.start()] + re.sub(r"[^\n]", "", code[found.start() : end]) + code[end:]
    return code


class File:
    """A Rust file of production code."""

    def __init__(self, path, crate):
        self.path = path
        self.crate = crate
        self.source = path.read_text()
        self.code = without_tests(plain(self.source))

    @property
    def name(self):
        return str(self.path.relative_to(ROOT))

    @property
    def module(self):
        """Where it is in its crate: ("rest", "routes"); the roots are ()."""
        if self.path.name == "build.rs":
            return ("build",)
        path = self.path.relative_to(self.crate / "src").with_suffix("").parts
        return () if path in (("lib",), ("main",)) else path

    def folder(self):
        """Where the files of its modules are."""
        in_root = self.path.stem in ("lib", "main")
        return self.path.parent if in_root else self.path.with_suffix("")


def crates():
    """The folders of production crates."""
    for manifest in sorted(ROOT.rglob("Cargo.toml")):
        folder = manifest.parent
        if (folder / "src").is_dir() and not OTHER_FOLDERS.intersection(folder.relative_to(ROOT).parts):
            yield folder


def files(crate):
    """A crate's production files: neither tests nor modules that only tests have."""
    found, tests = [], set()
    for path in sorted([*(crate / "src").rglob("*.rs"), *crate.glob("build.rs")]):
        if path.name == "tests.rs" or "tests" in path.relative_to(crate).parts:
            continue
        file = File(path, crate)
        found.append(file)
        only_tests = TEST_MODULE.findall(plain(file.source)) + SAMPLES_MODULE.findall(file.source)
        tests.update(file.folder() / name for name in only_tests)
    return [f for f in found if not tests.intersection((f.path.with_suffix(""), *f.path.parents))]
