#include "nn/shortlist.h"

#include <cstring>
#include <utility>

namespace pytransformer::nn {

using kernels::kLanes;
using kernels::kLineBytes;
using kernels::Panels;

namespace {

// Bytes of one output in a line of a panel, whatever the number format.
constexpr int64_t kWordBytes = kLineBytes / kLanes;

// Copies one output's column: `lines` times `bytes` bytes, the lines kLanes * bytes apart.
void copy_column(const std::byte* from, std::byte* to, int64_t lines, int64_t bytes) {
  for (int64_t i = 0; i < lines; ++i) {
    std::memcpy(to + i * kLanes * bytes, from + i * kLanes * bytes, static_cast<size_t>(bytes));
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

void Shortlist::gather_weights(const Panels& all) {
  weights_ =
      simd::AlignedBuffer<std::byte>::zeros(static_cast<size_t>(layer_.panels() * all.panel_bytes));
  layer_.weight.data = weights_.data();
  for (size_t i = 0; i < ids_.size(); ++i) {
    const int64_t from = ids_[i];
    const auto to = static_cast<int64_t>(i);
    copy_column(all.from(from / kLanes).data + from % kLanes * kWordBytes,
                weights_.data() + to / kLanes * all.panel_bytes + to % kLanes * kWordBytes,
                all.panel_bytes / kLineBytes, kWordBytes);
  }
}

void Shortlist::gather_scales(const Panels& all) {
  scales_ =
      simd::AlignedBuffer<std::byte>::zeros(static_cast<size_t>(layer_.panels() * all.scale_bytes));
  layer_.weight.scales = scales_.data();
  // int8: one float for each output; int4: one bfloat16 for each output and group.
  const int64_t bytes = all.type == kernels::ComputeType::int8 ? 4 : 2;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const int64_t from = ids_[i];
    const auto to = static_cast<int64_t>(i);
    copy_column(all.scales + from / kLanes * all.scale_bytes + from % kLanes * bytes,
                scales_.data() + to / kLanes * all.scale_bytes + to % kLanes * bytes,
                all.scale_bytes / (kLanes * bytes), bytes);
  }
}

}  // namespace pytransformer::nn
