// Which instruction sets this build has, which of them the machine has, and which one is in use.
#pragma once

#include <string_view>
#include <vector>

#include "simd/isa_id.h"

namespace pytransformer::simd {

std::string_view name(Isa isa);

// The instruction sets that are both compiled in and supported by the processor and the operating
// system (which must save the registers: XGETBV), lowest first; never empty.
const std::vector<Isa>& supported_isas();

// Throws std::invalid_argument that lists the supported ones if `isa_name` is not among them.
Isa parse_isa(std::string_view isa_name);

// The best supported one, or the one that the environment variable PYTRANSFORMER_ISA names. The
// variable may only lower the choice: a name that is unknown or that the machine lacks throws
// std::invalid_argument. Decided once, at the first call.
Isa active_isa();

}  // namespace pytransformer::simd
