#include "simd/isa.h"

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#ifdef PYTRANSFORMER_X86
#include <cpuid.h>
#endif
#ifdef PYTRANSFORMER_AARCH64
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pytransformer::simd {
namespace {

#ifdef PYTRANSFORMER_X86

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidResult cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  CpuidResult r;
  // Gives zeros for a leaf that the processor does not know.
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

// The register sets that the operating system saves when it switches threads.
uint64_t enabled_state() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool has(uint64_t flags, uint64_t wanted) { return (flags & wanted) == wanted; }

std::vector<Isa> detect() {
  std::vector<Isa> found = {Isa::portable};
  const CpuidResult basic = cpuid(1);
  constexpr uint32_t kFma = 1u << 12;
  constexpr uint32_t kOsxsave = 1u << 27;
  constexpr uint32_t kAvx = 1u << 28;
  if (!has(basic.ecx, kFma | kOsxsave | kAvx)) return found;

  const uint64_t state = enabled_state();
  const CpuidResult extended = cpuid(7);
  constexpr uint64_t kXmmYmm = 0x06;
  constexpr uint32_t kAvx2 = 1u << 5;
  if (!has(state, kXmmYmm) || !has(extended.ebx, kAvx2)) return found;
  found.push_back(Isa::avx2);

  constexpr uint64_t kMasksZmm = 0xe0;
  constexpr uint32_t kAvx512FBwDqVl = (1u << 16) | (1u << 30) | (1u << 17) | (1u << 31);
  if (!has(state, kMasksZmm) || !has(extended.ebx, kAvx512FBwDqVl)) return found;
  found.push_back(Isa::avx512);

  constexpr uint32_t kVnni = 1u << 11;
  if (!has(extended.ecx, kVnni)) return found;
  found.push_back(Isa::avx512_vnni);

  constexpr uint32_t kBf16 = 1u << 5;
  if (extended.eax < 1 || !has(cpuid(7, 1).eax, kBf16)) return found;
  found.push_back(Isa::avx512_bf16);
  return found;
}

#elif defined(PYTRANSFORMER_AARCH64)

std::vector<Isa> detect() {
  std::vector<Isa> found = {Isa::portable, Isa::neon};
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) found.push_back(Isa::neon_dotprod);
  return found;
}

#else

std::vector<Isa> detect() { return {Isa::portable}; }

#endif

Isa choose() {
  const char* wanted = std::getenv("PYTRANSFORMER_ISA");
  if (wanted == nullptr || *wanted == '\0') return supported_isas().back();
  try {
    return parse_isa(wanted);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("PYTRANSFORMER_ISA: ") + error.what());
  }
}

}  // namespace

std::string_view name(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_vnni:
      return "avx512_vnni";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::neon:
      return "neon";
    case Isa::neon_dotprod:
      return "neon_dotprod";
  }
  return "unknown";
}

const std::vector<Isa>& supported_isas() {
  static const std::vector<Isa> isas = detect();
  return isas;
}

Isa parse_isa(std::string_view isa_name) {
  std::string valid;
  for (const Isa isa : supported_isas()) {
    if (name(isa) == isa_name) return isa;
    if (!valid.empty()) valid += ", ";
    valid += name(isa);
  }
  throw std::invalid_argument("unknown or unsupported instruction set '" + std::string(isa_name) +
                              "'; this machine supports: " + valid);
}

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

}  // namespace pytransformer::simd
