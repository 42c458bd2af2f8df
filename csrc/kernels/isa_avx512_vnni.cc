#include "simd/vec_avx512.h"

#include "kernels/isa_table.h"

namespace pytransformer::kernels {

const Table& table_avx512_vnni();
const Table& table_avx512_vnni() { return kTable; }

}  // namespace pytransformer::kernels
