#include "simd/vec_portable.h"

#include "kernels/isa_table.h"

namespace pytransformer::kernels {

const Table& table_portable();
const Table& table_portable() { return kTable; }

}  // namespace pytransformer::kernels
