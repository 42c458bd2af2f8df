#include "simd/vec_avx512.h"

#include "kernels/isa_table.h"

namespace pytransformer::kernels {

const Table& table_avx512_bf16();
const Table& table_avx512_bf16() { return kTable; }

}  // namespace pytransformer::kernels
