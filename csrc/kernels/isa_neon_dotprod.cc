#include "simd/vec_neon.h"

#include "kernels/isa_table.h"

namespace pytransformer::kernels {

const Table& table_neon_dotprod();
const Table& table_neon_dotprod() { return kTable; }

}  // namespace pytransformer::kernels
