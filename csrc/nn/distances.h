// What self-attention adds for the distance of query and key.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "nn/model.h"
#include "simd/aligned.h"

namespace pytransformer::nn {

// Tables that follow from a model's distances, as far as its longest sentence yet needs them.
class DistanceTables {
 public:
  // `biases`: of each layer, null where the model has none.
  DistanceTables(const StackSpec& spec, std::vector<const float*> biases)
      : spec_(spec), biases_(std::move(biases)) {}

  // Makes the tables reach sentences of so many tokens; not while threads read them.
  void need(int64_t positions);
  // Most that they take as long as no sentence has more tokens.
  static int64_t bytes(const StackSpec& spec, int64_t positions);

  // The bias of distance 0, with those of -1, -2, … before it and those of 1, 2, … behind it; null
  // if the model has none.
  const float* bias(int64_t layer, int64_t head) const {
    if (bias_.empty()) return nullptr;
    const int64_t place = (layer * spec_.num_heads + head) * bias_stride() + reach_ - 1;
    return bias_.data() + place;
  }
  // From head to head.
  int64_t bias_stride() const { return 2 * reach_ - 1; }

  // Turns heads [begin, end) of the query or key at a position, if the model does so.
  void rotate(const kernels::Table& kernels, int64_t position, int64_t heads, float* x) const;

 private:
  void spread_biases();
  void compute_angles();
  int64_t half() const { return spec_.head_dim / 2; }

  const StackSpec& spec_;
  std::vector<const float*> biases_;
  int64_t reach_ = 0;
  std::vector<float> bias_;     // [layers, heads, 2 reach - 1]
  std::vector<float> cosines_;  // [reach, head_dim / 2], likewise sines
  std::vector<float> sines_;
};

// Attention with vectors of distances, of queries that stand at the positions 0, 1, … of the keys;
// else as kernels::Table::attention. `scratch`: as many numbers as vectors_scratch says.
void attend_with_vectors(const kernels::Table& kernels, kernels::AttentionArgs args,
                         const Distances& vectors, int64_t max_distance, float* scratch);
// The same of one query that stands at the last key, as kernels::Table::attention_cached.
void attend_with_vectors(const kernels::Table& kernels, kernels::CachedAttentionArgs args,
                         const Distances& vectors, int64_t max_distance, float* scratch);
int64_t vectors_scratch(const StackSpec& spec, int64_t keys);

}  // namespace pytransformer::nn
