#include "decode/trellis.h"

namespace pytransformer::decode {

int32_t Trellis::append(int32_t parent, int32_t token) {
  const int32_t slot = cache_.allocate();
  if (nodes_.size() <= static_cast<size_t>(slot)) nodes_.resize(static_cast<size_t>(slot) + 1);
  nodes_[static_cast<size_t>(slot)] = {token, parent, 1};
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
