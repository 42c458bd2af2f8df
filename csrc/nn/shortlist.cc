#include "nn/shortlist.h"

#include <algorithm>
#include <utility>

namespace pytransformer::nn {

using kernels::kLanes;
using kernels::Panels;

namespace {

// One output in a line of weights, whatever the number format.
using Word32 = uint32_t;
static_assert(kernels::kLineBytes == kLanes * sizeof(Word32));

// Columns that are asked for before they are read: they lie anywhere, so no hardware foresees them.
constexpr size_t kColumnsAhead = 2;

// Writes the columns `ids` of a matrix in panels, each panel made of lines of kLanes words.
template <typename Word>
void gather(const std::byte* panels, int64_t panel_bytes, std::span<const int32_t> ids,
            std::byte* to) {
  const auto stride = panel_bytes / static_cast<int64_t>(sizeof(Word));
  const auto place = [&](int64_t id) { return id / kLanes * stride + id % kLanes; };
  const auto* const all = reinterpret_cast<const Word*>(panels);
  auto* const gathered = reinterpret_cast<Word*>(to);
  for (size_t i = 0; i < ids.size(); ++i) {
    const Word* const from = all + place(ids[i]);
    const Word* const ahead = all + place(ids[std::min(i + kColumnsAhead, ids.size() - 1)]);
    Word* const column = gathered + place(static_cast<int64_t>(i));
    for (int64_t word = 0; word < stride; word += kLanes) {
      __builtin_prefetch(ahead + word);
      column[word] = from[word];
    }
  }
}

}  // namespace

Shortlist::Shortlist(const Linear& output, std::vector<int32_t> ids)
    : ids_(std::move(ids)), layer_(output) {
  layer_.outputs = kernels::padded(static_cast<int64_t>(ids_.size()));
  gather_weights(output.weight);
  if (output.weight.scales != nullptr) gather_scales(output.weight);
  if (output.bias == nullptr) return;
  bias_ = simd::AlignedBuffer<float>::zeros(static_cast<size_t>(layer_.outputs));
  for (size_t i = 0; i < ids_.size(); ++i) bias_.data()[i] = output.bias[ids_[i]];
  layer_.bias = bias_.data();
}

int64_t Shortlist::bytes(const Linear& output, int64_t ids) {
  const int64_t panels = kernels::padded(ids) / kLanes;
  const Panels& all = output.weight;
  return simd::allocated(panels * all.panel_bytes) +
         simd::allocated(all.scales == nullptr ? 0 : panels * all.scale_bytes) +
         simd::allocated(output.bias == nullptr ? 0 : panels * kernels::kLineBytes) +
         simd::allocated(ids * static_cast<int64_t>(sizeof(int32_t)));
}

void Shortlist::gather_weights(const Panels& all) {
  weights_ =
      simd::AlignedBuffer<std::byte>::zeros(static_cast<size_t>(layer_.panels() * all.panel_bytes));
  layer_.weight.data = weights_.data();
  gather<Word32>(all.data, all.panel_bytes, ids_, weights_.data());
}

void Shortlist::gather_scales(const Panels& all) {
  scales_ =
      simd::AlignedBuffer<std::byte>::zeros(static_cast<size_t>(layer_.panels() * all.scale_bytes));
  layer_.weight.scales = scales_.data();
  if (all.type == kernels::ComputeType::int8) {
    gather<float>(all.scales, all.scale_bytes, ids_, scales_.data());
  } else {
    gather<uint16_t>(all.scales, all.scale_bytes, ids_, scales_.data());
  }
}

}  // namespace pytransformer::nn
