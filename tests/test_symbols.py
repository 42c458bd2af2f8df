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


def tool(isa: str, name: str) -> str | None:
    """A program of GCC's or binutils' for the processors that an instruction set belongs to."""
    machine = {"avx": "x86_64", "neo": "aarch64"}.get(isa[:3], platform.machine())
    prefix = "" if machine == platform.machine() else f"{machine}-linux-gnu-"
    return shutil.which(prefix + name)


def test_variables_in_flags_are_resolved() -> None:
    flags = declared_flags()
    assert not flags["portable"]
    assert {"-mavx512f", "-mfma", "-mavx512vnni"} <= set(flags["avx512_vnni"])
    assert "-mavx512vnni" not in flags["avx512"]
    assert flags["neon"][0] == "-march=armv8-a"


@pytest.mark.parametrize("isa", declared_flags())
def test_one_function_leaves_the_translation_unit(isa: str, tmp_path: Path) -> None:
    source = ROOT / "csrc" / "kernels" / f"isa_{isa}.cc"
    target = tmp_path / "isa.o"
    compiler, nm = tool(isa, "g++"), tool(isa, "nm")
    if compiler is None or nm is None:
        pytest.skip("needs a C++ compiler and nm for its processors")
    command = [compiler, "-std=c++20", "-O3", "-fPIC", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, *declared_flags()[isa], "-c", source, "-o", target], check=True)
    listing = subprocess.run(
        [nm, "--demangle", target], check=True, capture_output=True, text=True
    ).stdout
    defined, needed = [], []
    for line in listing.splitlines():
        match = re.fullmatch(r"[0-9a-f ]* ([A-Za-z]) (.*)", line)
        assert match is not None, line
        kind, name = match.groups()
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
