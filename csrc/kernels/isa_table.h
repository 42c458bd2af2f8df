// The table of the instruction set whose vec_*.h was included before. What this file and those it
// includes define is local to the translation unit: code that needs an instruction set must never
// be handed by the linker to a caller on a processor without it.
#pragma once

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/distances.h"
#include "kernels/elementary.h"
#include "kernels/embed.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/layer_norm.h"
#include "kernels/logits.h"
#include "kernels/probe.h"
#include "kernels/recurrence.h"
#include "kernels/rows.h"
#include "kernels/softmax.h"

namespace pytransformer::kernels {
namespace {

// What the compiler was told, not what the file is called.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
constexpr char kCompiledIsa[] = "avx512_bf16";
#elif defined(__AVX512VNNI__)
constexpr char kCompiledIsa[] = "avx512_vnni";
#else
constexpr char kCompiledIsa[] = "avx512";
#endif
#elif defined(__AVX2__) && defined(__FMA__)
constexpr char kCompiledIsa[] = "avx2";
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr char kCompiledIsa[] = "neon_dotprod";
#elif defined(__aarch64__)
// The same instructions; only the vector types tell these two apart.
constexpr const char* kCompiledIsa = kIsa == simd::Isa::portable ? "portable" : "neon";
#else
constexpr char kCompiledIsa[] = "portable";
#endif

constexpr Table kTable = {
    .isa = kIsa,
    .compiled_isa = kCompiledIsa,
    .gemm = gemm,
    .row_tiles = row_tiles,
    .prepare_rows = prepare_rows,
    .layer_norm = layer_norm,
    .softmax = softmax,
    .activate = activate,
    .exp = apply<exp>,
    .tanh = apply<tanh>,
    .erf = apply<erf>,
    .pack_keys = pack_keys,
    .store_rows = store_rows,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .attention_cached = attention_cached,
    .distance_scores = distance_scores,
    .distance_values = distance_values,
    .rotate = rotate,
    .recur = recur,
    .running_mean = running_mean,
    .multiply = multiply,
    .add = add,
    .mix = mix,
    .embed = embed,
    .reduce_logits = reduce_logits,
    .merge_top = merge_top,
    .log_sum_exp = log_sum_exp,
    .probe_arithmetic = probe_arithmetic,
    .arithmetic_per_probe = arithmetic_per_probe,
    .probe_reads = probe_reads,
};

}  // namespace
}  // namespace pytransformer::kernels
