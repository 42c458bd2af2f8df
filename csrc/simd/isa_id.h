// The names of the instruction sets, apart from isa.h because what is compiled for one instruction
// set must not pull in the standard library's inline functions.
#pragma once

namespace pytransformer::simd {

// Of each kind of processor lowest first. A higher one includes all that the lower ones can do.
enum class Isa { portable, avx2, avx512, avx512_vnni, avx512_bf16, neon, neon_dotprod };

}  // namespace pytransformer::simd
