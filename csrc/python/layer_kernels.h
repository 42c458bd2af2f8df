// The kernels of layers on arrays.
#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/kernels.h"
#include "python/arrays.h"
#include "simd/isa.h"

namespace pytransformer::python {

inline kernels::CacheType parse_cache_type(const std::string& name) {
  if (name == "float32") return kernels::CacheType::float32;
  if (name == "bfloat16") return kernels::CacheType::bfloat16;
  throw std::invalid_argument("unknown cache type '" + name + "'; known are float32, bfloat16");
}

inline kernels::Norm parse_norm(const std::string& name) {
  if (name == "layer") return kernels::Norm::layer;
  if (name == "rms") return kernels::Norm::rms;
  if (name == "deviation") return kernels::Norm::deviation;
  throw std::invalid_argument("unknown norm '" + name + "'; known are layer, rms, deviation");
}

// Arrays in and out; shapes and errors as pytransformer/_native.pyi says.
class LayerKernels {
 public:
  explicit LayerKernels(const std::string& isa) : table_(kernels::table(simd::parse_isa(isa))) {}

  Floats layer_norm(const Floats& x, const Floats& weight, const Floats& bias, float epsilon,
                    const std::string& kind) const {
    PaddedMatrix rows(x, "x");
    require(rows.columns > 0, "x must have at least one column");
    const Buffer w = padded_vector(weight, rows.columns, "weight");
    const Buffer b = padded_vector(bias, rows.columns, "bias");
    table_.layer_norm({.kind = parse_norm(kind),
                       .rows = rows.rows,
                       .columns = rows.columns,
                       .x = rows.data.data(),
                       .ldx = rows.ld,
                       .weight = w.data(),
                       .bias = b.data(),
                       .epsilon = epsilon,
                       .y = rows.data.data(),
                       .ldy = rows.ld});
    return rows.array();
  }

  Floats attention(const Floats& query, const Floats& key, const Floats& value, float scale,
                   const std::string& cache_type, std::optional<Floats> weights,
                   const std::optional<Floats>& bias) const {
    const kernels::CacheType type = parse_cache_type(cache_type);
    check_keys(key, value);
    require_dimensions(query, 2, "query");
    require(!bias || bias->size() == query.shape(0) * key.shape(0), "bias must be [queries, keys]");
    require(query.shape(1) == key.shape(1), "query and key must have the same width");
    require(!weights || weights->size() == query.shape(0) * key.shape(0),
            "weights must be [queries, keys]");
    const int64_t keys = key.shape(0);
    const int64_t dim = key.shape(1);
    simd::AlignedBuffer<std::byte> packed_keys(
        static_cast<size_t>(kernels::padded(keys) * dim * bytes_of(type)));
    simd::AlignedBuffer<std::byte> values(static_cast<size_t>(keys * dim * bytes_of(type)));
    table_.pack_keys(type, key.data(), dim, keys, dim, packed_keys.data());
    table_.store_rows(type, value.data(), dim, keys, dim, values.data());
    Buffer scratch(static_cast<size_t>(table_.attention_scratch(keys)));
    Floats out({query.shape(0), query.shape(1)});
    table_.attention({.queries = query.shape(0),
                      .keys = keys,
                      .dim = dim,
                      .scale = scale,
                      .q = query.data(),
                      .ldq = dim,
                      .type = type,
                      .packed_keys = packed_keys.data(),
                      .v = values.data(),
                      .v_bytes = dim * bytes_of(type),
                      .out = out.mutable_data(),
                      .ldo = dim,
                      .scratch = scratch.data(),
                      .ahead = 0,
                      .bias = bias ? bias->data() : nullptr,
                      .ld_bias = keys,
                      .weights = weights ? weights->mutable_data() : nullptr,
                      .ld_weights = keys});
    return out;
  }

  Floats attention_cached(const Floats& query, const Floats& key, const Floats& value,
                          const Ints& slots, float scale, const std::string& cache_type,
                          std::optional<Floats> weights, const std::optional<Floats>& bias) const {
    const kernels::CacheType type = parse_cache_type(cache_type);
    check_keys(key, value);
    require_dimensions(query, 1, "query");
    require_dimensions(slots, 1, "slots");
    const int64_t dim = query.shape(0);
    const int64_t count = slots.shape(0);
    require(dim == key.shape(1), "query and key must have the same width");
    require(count > 0, "slots must not be empty");
    require(!weights || weights->size() == count, "weights must be [slots]");
    require(!bias || bias->size() == count, "bias must be [slots]");
    for (int64_t i = 0; i < count; ++i) {
      require(slots.data()[i] >= 0 && slots.data()[i] < key.shape(0), "slots must be rows of key");
    }
    // Each chunk holds its keys, then its values.
    const int64_t half = kernels::kSlotsPerChunk * dim * bytes_of(type);
    const int64_t num_chunks = kernels::padded(key.shape(0)) / kernels::kSlotsPerChunk;
    simd::AlignedBuffer<std::byte> cache(static_cast<size_t>(num_chunks * 2 * half));
    std::vector<const std::byte*> chunks;
    for (int64_t i = 0; i < num_chunks; ++i) {
      std::byte* const chunk = cache.data() + i * 2 * half;
      const int64_t first = i * kernels::kSlotsPerChunk;
      const int64_t rows = std::min(kernels::kSlotsPerChunk, key.shape(0) - first);
      table_.store_rows(type, key.data() + first * dim, dim, rows, dim, chunk);
      table_.store_rows(type, value.data() + first * dim, dim, rows, dim, chunk + half);
      chunks.push_back(chunk);
    }
    Buffer scratch(static_cast<size_t>(kernels::padded(count)));
    Floats out(dim);
    table_.attention_cached({.heads = 1,
                             .dim = dim,
                             .count = count,
                             .scale = scale,
                             .q = query.data(),
                             .type = type,
                             .chunks = chunks.data(),
                             .key_offset = 0,
                             .value_offset = half,
                             .head_bytes = 0,
                             .slots = slots.data(),
                             .out = out.mutable_data(),
                             .scratch = scratch.data(),
                             .bias = bias ? bias->data() : nullptr,
                             .bias_stride = count,
                             .weights = weights ? weights->mutable_data() : nullptr,
                             .weights_stride = count});
    return out;
  }

  // Scores [keys] of the vectors of distances, of a query at `position`.
  Floats distance_scores(const Floats& query, const Floats& vectors, int64_t keys, int64_t position,
                         float scale) const {
    const kernels::DistanceArgs args = distances(vectors, keys, position);
    require_dimensions(query, 1, "query");
    require(query.shape(0) == args.dim, "query and vectors must have the same width");
    Floats scores(keys);
    table_.distance_scores(args, query.data(), scale, scores.mutable_data());
    return scores;
  }

  // The sum [dim] of the vectors of distances, each with its key's weight.
  Floats distance_values(const Floats& weights, const Floats& vectors, int64_t position) const {
    require_dimensions(weights, 1, "weights");
    const kernels::DistanceArgs args = distances(vectors, weights.shape(0), position);
    Buffer scratch(static_cast<size_t>(vectors.shape(0)));
    Floats out(args.dim);
    std::fill_n(out.mutable_data(), args.dim, 0.0f);
    table_.distance_values(args, weights.data(), scratch.data(), out.mutable_data());
    return out;
  }

  // Heads [heads, dim], the first `half` numbers of each turned against the next.
  Floats rotate(const Floats& x, const Floats& cosines, const Floats& sines) const {
    require_dimensions(x, 2, "x");
    require_dimensions(cosines, 1, "cosines");
    require(sines.size() == cosines.size() && 2 * cosines.size() <= x.shape(1),
            "cosines and sines must be as long as half a head at most");
    Floats result({x.shape(0), x.shape(1)});
    std::copy_n(x.data(), x.size(), result.mutable_data());
    table_.rotate({.heads = x.shape(0),
                   .dim = x.shape(1),
                   .half = cosines.size(),
                   .cosines = cosines.data(),
                   .sines = sines.data(),
                   .x = result.mutable_data()});
    return result;
  }

  // State and output of one step.
  std::tuple<Floats, Floats> recur(const Floats& input, const Floats& forget,
                                   const std::optional<Floats>& previous) const {
    const int64_t count = same_lengths({&input, &forget, previous ? &*previous : nullptr});
    Floats state(count);
    Floats out(count);
    table_.recur({.count = count,
                  .input = input.data(),
                  .forget = forget.data(),
                  .previous = previous ? previous->data() : nullptr,
                  .state = state.mutable_data(),
                  .out = out.mutable_data()});
    return {state, out};
  }

  // Total and mean after one step.
  std::tuple<Floats, Floats> running_mean(const Floats& x, const std::optional<Floats>& previous,
                                          int64_t steps) const {
    const int64_t count = same_lengths({&x, previous ? &*previous : nullptr});
    require(steps > 0, "steps must be at least 1");
    Floats total(count);
    Floats mean(count);
    table_.running_mean({.count = count,
                         .x = x.data(),
                         .previous = previous ? previous->data() : nullptr,
                         .steps = steps,
                         .total = total.mutable_data(),
                         .mean = mean.mutable_data()});
    return {total, mean};
  }

  // sigmoid(gate) * y + sigmoid(other_gate) * other.
  Floats mix(const Floats& gate, const Floats& y, const Floats& other_gate,
             const Floats& other) const {
    const int64_t count = same_lengths({&gate, &y, &other_gate, &other});
    Floats result(count);
    std::copy_n(y.data(), count, result.mutable_data());
    table_.mix(gate.data(), other_gate.data(), other.data(), count, result.mutable_data());
    return result;
  }

 private:
  static kernels::DistanceArgs distances(const Floats& vectors, int64_t keys, int64_t position) {
    require_dimensions(vectors, 2, "vectors");
    require(vectors.shape(0) % 2 == 1, "vectors must have an odd number of rows");
    require(vectors.shape(1) > 0 && vectors.shape(1) % kernels::kLanes == 0,
            "the width of vectors must be a multiple of 16");
    require(keys > 0, "there must be at least one key");
    return {vectors.shape(1), keys, position, vectors.shape(0) / 2, vectors.data()};
  }

  static int64_t same_lengths(const std::vector<const Floats*>& arrays) {
    for (const Floats* array : arrays) {
      require(array == nullptr || (array->ndim() == 1 && array->size() == arrays[0]->size()),
              "arrays must be vectors of the same length");
    }
    require(arrays[0]->size() % kernels::kLanes == 0, "their length must be a multiple of 16");
    return arrays[0]->size();
  }

  static void check_keys(const Floats& key, const Floats& value) {
    require_dimensions(key, 2, "key");
    require_dimensions(value, 2, "value");
    require(key.shape(0) == value.shape(0) && key.shape(1) == value.shape(1),
            "key and value must have the same shape");
    require(key.shape(0) > 0, "there must be at least one key");
    require(key.shape(1) > 0 && key.shape(1) % kernels::kLanes == 0,
            "the width of a head must be a multiple of 16");
  }

 protected:
  const kernels::Table& table_;
};

}  // namespace pytransformer::python
