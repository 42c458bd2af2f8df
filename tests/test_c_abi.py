"""The C interface as programs see it that were built long ago: symbols, layouts, prototypes.

tests/c_abi.txt records what must not change while the soname stays: functions, the values of
constants, and structs, which may grow at their end.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from c_header import FUNCTIONS, PREFIX, STRUCTS
from embedding import ROOT, need, run

if TYPE_CHECKING:
    from embedding import Library

INCLUDE = ROOT / "csrc" / "include"
HEADER = (INCLUDE / "pytransformer.h").read_text()
RECORD = (Path(__file__).parent / "c_abi.txt").read_text()

NODE = "PYTRANSFORMER_1"
MOST_BYTES = 3_000_000
# OpenMP's is GNU's or LLVM's.
NEEDED = re.compile(
    r"lib(gomp|omp|stdc\+\+|m|gcc_s|c|pthread)\.so\.\d+|ld-linux.*\.so\.\d|lib(c\+\+|c\+\+abi)\.so.*"
)


def prototypes() -> list[str]:
    """Each function's declaration in one line."""
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    found = re.findall(r"^PYTRANSFORMER_API\s([^;]+);", code, re.MULTILINE)
    return sorted(" ".join(text.split()).replace("( ", "(") for text in found)


def function_names() -> set[str]:
    return set(re.findall(r"(\w+)\(", "\n".join(prototypes())))


def constants() -> list[str]:
    """The names of enumerators, and of the one number that is a macro."""
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    enums = re.findall(r"enum[^{]*\{([^}]*)\}", code)
    return ["PYTRANSFORMER_UNSET", *re.findall(r"PYTRANSFORMER_\w+", " ".join(enums))]


def layout_program() -> str:
    """Prints constants, sizes and offsets as the compiler has them."""
    lines = [f'  printf("%s %ld\\n", "{name}", (long){name});' for name in constants()]
    for name, kind in STRUCTS.items():
        lines.append(f'  printf("struct %s %zu\\n", "{name}", sizeof({name}));')
        for field in kind._fields_:
            place = f"offsetof({name}, {field[0]})"
            what = f"KIND((({name}*)0)->{field[0]})"
            lines.append(f'  printf("  %zu %s %s\\n", {place}, {what}, "{field[0]}");')
    names = {
        "int32_t": "int32", "int64_t": "int64", "uint64_t": "uint64", "float": "float",
        "const char*": "string", "const float*": "floats", "const uint64_t*": "uint64s",
        "char*": "chars", "void*": "pointer",
        "pytransformer_text": "text", "pytransformer_ids": "ids", "pytransformer_tokens": "tokens",
        "const int32_t*": "int32s", "const pytransformer_ids*": "idss",
        "const pytransformer_text*": "texts", "pytransformer_token_callback": "token_callback",
        "pytransformer_text_callback": "text_callback",
    }  # fmt: skip
    kinds = ", ".join(f'{kind}: "{name}"' for kind, name in names.items())
    return "\n".join(
        [
            "#include <pytransformer.h>",
            "#include <stdio.h>",
            f"#define KIND(field) _Generic((field), {kinds})",
            "int main(void) {",
            *lines,
            "}",
        ]
    )


def described() -> str:
    """The layouts as the binding of ctypes has them, in the record's words."""
    lines = []
    for name, kind in STRUCTS.items():
        lines.append(f"struct {name} {ctypes.sizeof(kind)}")
        lines += [f"  {getattr(kind, field[0]).offset} {field[0]}" for field in kind._fields_]
    return "\n".join(lines)


def test_layouts_and_prototypes_are_those_of_the_record(tmp_path: Path) -> None:
    """As the compiler has them, and as ctypes has them."""
    need("cc")
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("the record is of machines with 64 bits")
    (tmp_path / "layout.c").write_text(layout_program())
    run(["cc", "-std=c11", f"-I{INCLUDE}", "layout.c", "-o", "layout"], cwd=tmp_path)
    layouts = run([tmp_path / "layout"])
    assert "\n".join(prototypes()) + "\n" + layouts == RECORD
    offsets = re.sub(r"^(  \d+) \w+ ", r"\1 ", layouts, flags=re.MULTILINE)
    assert offsets[offsets.index("struct ") :].rstrip() == described()
    # A struct whose fields the program above does not name would be one that nobody looks at.
    members = re.findall(r"^  [a-z][\w ]+[ *]+(\w+)(?:\[\d+\])?;", HEADER, re.MULTILINE)
    assert sorted(members) == sorted(
        field[0] for kind in STRUCTS.values() for field in kind._fields_
    )


def test_ctypes_knows_all_functions() -> None:
    assert {PREFIX + name for name in FUNCTIONS} == function_names()


@pytest.fixture(scope="module")
def stripped(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("readelf", "strip")
    return Path(shutil.copy(library.shared, tmp_path_factory.mktemp("stripped")))


def readelf(*arguments: str | Path) -> str:
    return run(["readelf", "-W", *arguments], env={**os.environ, "LC_ALL": "C"})


def test_exports_the_functions_of_the_header_and_nothing_else(library: Library) -> None:
    """No symbols of C++, and none that are unique in the process, which would keep it loaded."""
    need("readelf")
    symbols = [line.split() for line in readelf("--dyn-syms", library.shared).splitlines()]
    # Number, value, size, type, binding, visibility, section, name.
    symbols = [words for words in symbols if len(words) >= 8 and words[0].rstrip(":").isdigit()]
    assert {words[4] for words in symbols} <= {"LOCAL", "GLOBAL", "WEAK"}
    defined = [(words[3], words[4], words[5], words[7]) for words in symbols if words[6] != "UND"]
    functions = [("FUNC", "GLOBAL", "DEFAULT", f"{name}@@{NODE}") for name in function_names()]
    assert sorted(defined) == sorted([("OBJECT", "GLOBAL", "DEFAULT", NODE), *functions])
    whole = readelf("--syms", library.shared)
    assert " UNIQUE " not in whole


def test_needs_no_library_that_is_not_expected(library: Library) -> None:
    need("readelf")
    dynamic = readelf("--dynamic", library.shared)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    assert needed
    assert [name for name in needed if not NEEDED.fullmatch(name)] == []
    assert re.findall(r"\(SONAME\).*\[(.*)\]", dynamic) == ["libpytransformer.so.1"]
    assert "PATH)" not in dynamic  # where other libraries lie is not its business
    assert "NODELETE" not in dynamic


def test_cannot_be_written_over_or_run_from_the_stack(library: Library) -> None:
    need("readelf")
    dynamic = readelf("--dynamic", library.shared)
    assert "TEXTREL" not in dynamic
    assert re.search(r"\(FLAGS(_1)?\).*NOW", dynamic)
    segments = readelf("--segments", library.shared)
    assert "GNU_RELRO" in segments
    assert re.findall(r"GNU_STACK.* (RWE?) ", segments) == ["RW"]


def test_is_small_and_says_nothing_of_where_it_was_made(stripped: Path) -> None:
    run(["strip", "--strip-unneeded", stripped])
    assert stripped.stat().st_size <= MOST_BYTES
    content = stripped.read_bytes()
    for place in (str(ROOT), "csrc/", "/tmp/", str(Path.home())):
        assert place.encode() not in content


# -- The headers by themselves ---------------------------------------------------------------------

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]

# Every function is there for the compiler to look at.
USE_OF_CPP = r"""
#include <pytransformer.hpp>

int use();
int use() try {
  using namespace pytransformer;
  Settings settings;
  settings.inter_threads = 2;
  const Translator translator("a path", settings);
  const Translator another("", 0, settings);
  Options options;
  options.beam_size = 4;
  const TextCallback on_text = [](std::size_t, std::string_view) {};
  const TokenCallback on_token = [](std::size_t, std::int32_t, std::int32_t, float) {};
  std::string text = translator.translate("a text", options, on_text);
  text += translator.translate_texts({"a text", text}, options, on_text).at(0).at(0).text;
  const auto tokens = translator.translate_tokens({{"a", "b"}}, options, {{"c"}}, on_token);
  const auto ids = translator.translate_ids({{1, 2}}, options, {{3}}, on_token);
  text += tokens.at(0).at(0).tokens.at(0);
  text += translator.decode(translator.encode("a line", "de", "en"));
  text += translator.source_languages().at(0) + translator.target_languages().at(0);
  return translator.info().inter_threads + static_cast<int>(text.size() + ids.size()) +
         (translator.get() == another.get());
} catch (const pytransformer::InputLengthError& error) {
  return error.status();
}
"""

COMPILERS = {"C": ("gcc", "clang"), "C++": ("g++", "clang++")}
STANDARDS = {"C": ("c99", "c11", "c17"), "C++": ("c++17", "c++20", "c++2b")}
# Source, language that it is compiled as.
HEADERS = [
    ("#include <pytransformer.h>\n", "C"),
    ("#include <pytransformer.h>\n", "C++"),
    ("#include <pytransformer.hpp>\n", "C++"),
    (USE_OF_CPP, "C++"),
]


@pytest.mark.parametrize(("source", "language"), HEADERS, ids=["h", "h-in-c++", "hpp", "use"])
@pytest.mark.parametrize("which", [0, 1], ids=["gnu", "llvm"])
def test_header_stands_alone(source: str, language: str, which: int, tmp_path: Path) -> None:
    """In every standard, without a warning, and reaches nothing but the system's headers."""
    compiler = COMPILERS[language][which]
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    include = tmp_path / "include"
    shutil.copytree(INCLUDE, include)
    (tmp_path / "use").write_text(source)
    begin = [compiler, "-x", language.lower(), f"-I{include}"]
    for standard in STANDARDS[language]:
        run([*begin, f"-std={standard}", *WARNINGS, "-fsyntax-only", tmp_path / "use"])
    # Without the system's headers.
    rule = run([*begin, f"-std={STANDARDS[language][0]}", "-MM", tmp_path / "use"])
    reached = {Path(word).name for word in rule.replace("\\\n", " ").split()[1:]}
    of_cpp = {"pytransformer.hpp", "pytransformer_errors.hpp"} if "hpp" in source else set()
    assert reached == {"use", "pytransformer.h", *of_cpp}
    whole = run([*begin, f"-std={STANDARDS[language][0]}", "-M", tmp_path / "use"])
    assert not re.search(r"Python\.h|pybind11|csrc", whole)


def test_c_header_asks_for_no_feature_of_the_system(tmp_path: Path) -> None:
    """With none but the standard's names."""
    need("gcc")
    (tmp_path / "use.c").write_text('#include "pytransformer.h"\n')
    run(
        ["gcc", "-std=c99", "-ansi", "-std=c99", "-D_POSIX_C_SOURCE=1", *WARNINGS, f"-I{INCLUDE}",
         "-fsyntax-only", tmp_path / "use.c"]
    )  # fmt: skip


def test_linking_takes_the_version(library: Library, tmp_path: Path) -> None:
    """A program asks for the functions of this version of the interface, by name."""
    need("cc", "readelf")
    (tmp_path / "app.c").write_text(
        "#include <pytransformer.h>\nint main(void) { return pytransformer_version()[0] == 0; }\n"
    )
    run(
        ["cc", "app.c", f"-I{library.include}", f"-L{library.lib}", "-lpytransformer", "-o", "app"],
        cwd=tmp_path,
    )
    assert f"pytransformer_version@{NODE}" in readelf("--dyn-syms", tmp_path / "app")
    subprocess.run([tmp_path / "app"], env=library.environment, check=True)
