#include "simd/vec_neon.h"

#include "kernels/isa_table.h"

namespace pytransformer::kernels {

const Table& table_neon();
const Table& table_neon() { return kTable; }

}  // namespace pytransformer::kernels
