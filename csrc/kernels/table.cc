#include "kernels/kernels.h"

namespace pytransformer::kernels {

// One translation unit per instruction set, isa_*.cc.
const Table& table_portable();
#ifdef PYTRANSFORMER_X86
const Table& table_avx2();
const Table& table_avx512();
const Table& table_avx512_vnni();
const Table& table_avx512_bf16();
#endif
#ifdef PYTRANSFORMER_AARCH64
const Table& table_neon();
const Table& table_neon_dotprod();
#endif

const Table& table(simd::Isa isa) {
  switch (isa) {
#ifdef PYTRANSFORMER_X86
    case simd::Isa::avx512_bf16:
      return table_avx512_bf16();
    case simd::Isa::avx512_vnni:
      return table_avx512_vnni();
    case simd::Isa::avx512:
      return table_avx512();
    case simd::Isa::avx2:
      return table_avx2();
#endif
#ifdef PYTRANSFORMER_AARCH64
    case simd::Isa::neon_dotprod:
      return table_neon_dotprod();
    case simd::Isa::neon:
      return table_neon();
#endif
    default:
      return table_portable();
  }
}

}  // namespace pytransformer::kernels
