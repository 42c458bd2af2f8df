// The tokens decoded so far for one sentence, as a tree of slots of its self-attention cache.
// A hypothesis is a path from the root to a slot. Slots that no hypothesis holds are freed.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/cache.h"

namespace pytransformer::decode {

class Trellis {
 public:
  Trellis(const nn::StackSpec& decoder, kernels::CacheType type) : cache_(decoder, type) {}

  nn::SelfCache& cache() { return cache_; }
  kernels::CacheType cache_type() const { return cache_.type(); }

  // One token, and what the model said on reading it, as far as a caller asks for that.
  struct Node {
    int32_t token = 0;
    int32_t parent = -1;
    int32_t holds = 0;
    float log_prob = 0;            // of this token, given those before it
    std::vector<float> attention;  // [source], of the layer and heads that the caller wants
    std::vector<float> coverage;   // [source], of all heads of the last layer
    std::vector<float> logits;     // [vocab_size]: log-probabilities of what follows
  };

  // A slot for `token` behind `parent` (-1: at the root). It takes over the caller's hold on the
  // parent and comes with one hold of its own.
  int32_t append(int32_t parent, int32_t token, float log_prob);
  void hold(int32_t slot) { ++nodes_[static_cast<size_t>(slot)].holds; }
  // Gives up one hold; what nobody holds any more is freed, up to the first slot that is held.
  void release(int32_t slot);

  int32_t parent(int32_t slot) const { return nodes_[static_cast<size_t>(slot)].parent; }
  int32_t token(int32_t slot) const { return nodes_[static_cast<size_t>(slot)].token; }
  Node& node(int32_t slot) { return nodes_[static_cast<size_t>(slot)]; }
  const Node& node(int32_t slot) const { return nodes_[static_cast<size_t>(slot)]; }

 private:
  nn::SelfCache cache_;
  std::vector<Node> nodes_;  // by slot
};

}  // namespace pytransformer::decode
