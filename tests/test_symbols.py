"""Code that needs an instruction set must stay in its translation unit.

If isa_avx512.cc defined an inline function that other files use too, the linker could hand the
AVX-512 copy to all of them, and the program would crash on an older processor.
"""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMPILER = shutil.which("g++") or shutil.which("clang++")
X86 = platform.machine() in ("x86_64", "AMD64")


def declared_flags() -> dict[str, list[str]]:
    """Instruction sets and their compiler flags, as the build declares them."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    variables: dict[str, str] = {}
    flags = {}
    calls = re.findall(r"^\s*(set|pytransformer_add_isa)\((\w+)([^)]*)\)", text, re.MULTILINE)
    for command, name, values in calls:
        if command == "set":
            variables[name] = values
        else:
            flags[name] = re.sub(r"\$\{(\w+)\}", lambda m: variables[m[1]], values).split()
    return flags


def isa_flags() -> dict[str, list[str]]:
    """Those that this processor's compiler knows."""
    return {name: flags for name, flags in declared_flags().items() if name == "portable" or X86}


def test_variables_in_flags_are_resolved() -> None:
    flags = declared_flags()
    assert not flags["portable"]
    assert {"-mavx512f", "-mfma", "-mavx512vnni"} <= set(flags["avx512_vnni"])
    assert "-mavx512vnni" not in flags["avx512"]


@pytest.mark.skipif(not (COMPILER and shutil.which("nm")), reason="needs a C++ compiler and nm")
@pytest.mark.parametrize("isa", isa_flags())
def test_one_function_leaves_the_translation_unit(isa: str, tmp_path: Path) -> None:
    source = ROOT / "csrc" / "kernels" / f"isa_{isa}.cc"
    target = tmp_path / "isa.o"
    assert COMPILER is not None
    command = [COMPILER, "-std=c++20", "-O3", "-fPIC", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, *isa_flags()[isa], "-c", source, "-o", target], check=True)
    listing = subprocess.run(
        ["nm", "--demangle", "--format=posix", target], check=True, capture_output=True, text=True
    ).stdout
    defined, needed = [], []
    for line in listing.splitlines():
        match = re.match(r"(.*) ([A-Za-z])(?: |$)", line)
        assert match is not None, line
        name, kind = match.groups()
        if kind == "U":
            needed.append(name)
        elif kind.isupper() or kind in "vw":
            defined.append(name)
    assert defined == [f"pytransformer::kernels::table_{isa}()"]
    # Of the C library only; nothing of the C++ library.
    assert set(needed) <= {"sqrtf", "memset", "memcpy", "memmove", "_GLOBAL_OFFSET_TABLE_"}


def test_every_isa_file_is_built() -> None:
    files = {
        path.stem.removeprefix("isa_") for path in (ROOT / "csrc" / "kernels").glob("isa_*.cc")
    }
    assert files == set(declared_flags())
