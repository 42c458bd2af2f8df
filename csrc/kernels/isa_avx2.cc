#include "simd/vec_avx2.h"

#include "kernels/isa_table.h"

namespace pytransformer::kernels {

const Table& table_avx2();
const Table& table_avx2() { return kTable; }

}  // namespace pytransformer::kernels
