#include "decode/trellis.h"

namespace pytransformer::decode {

int32_t Trellis::append(int32_t parent, int32_t token, float log_prob) {
  const int32_t slot = cache_.allocate();
  if (nodes_.size() <= static_cast<size_t>(slot)) nodes_.resize(static_cast<size_t>(slot) + 1);
  Node& node = nodes_[static_cast<size_t>(slot)];
  node.token = token;
  node.parent = parent;
  node.holds = 1;
  node.log_prob = log_prob;
  return slot;
}

void Trellis::release(int32_t slot) {
  while (slot >= 0) {
    Node& node = nodes_[static_cast<size_t>(slot)];
    if (--node.holds > 0) return;
    cache_.release(slot);
    slot = node.parent;
  }
}

}  // namespace pytransformer::decode
