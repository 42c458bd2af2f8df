#include "decode/memory.h"

#include <algorithm>

#include "decode/batch.h"
#include "nn/cache.h"
#include "nn/encoder.h"
#include "nn/encoder_head.h"

namespace pytransformer::decode {
namespace {

using kernels::padded;
using simd::allocated;
using simd::allocated_by_growth;

constexpr auto kNumber = static_cast<int64_t>(sizeof(float));

// Of each thread: the part of its stack that it touches, and what C and OpenMP keep for it.
constexpr int64_t kThreadBytes = 128 << 10;
// Of each sentence: its entries in lists, and what is small in its task.
constexpr int64_t kSentenceBytes = 4 << 10;

int64_t most(int64_t sum, int64_t longest, int64_t limit) {
  return std::max(longest, std::min(sum, limit));
}

}  // namespace

void Passes::include(const Passes& other) {
  encoder_rows = std::max(encoder_rows, other.encoder_rows);
  source = std::max(source, other.source);
  encoded = std::max(encoded, other.encoded);
  step.rows = std::max(step.rows, other.step.rows);
  step.positions = std::max(step.positions, other.step.positions);
  step.source = std::max(step.source, other.step.source);
  step.candidates = std::max(step.candidates, other.step.candidates);
}

void Load::add(const Need& need) {
  ++sentences_;
  if (need.only_encodes) ++encoded_;
  bytes_ += need.bytes;
  sources_ += need.source;
  longest_ = std::max(longest_, need.source);
  rows_ += need.task.rows;
  first_rows_ += need.task.first_rows;
  longest_first_ = std::max(longest_first_, need.task.first_rows);
  positions_ = std::max(positions_, need.task.positions);
  candidates_ = std::max(candidates_, need.task.candidates);
  if (need.shortlist == nullptr ||
      std::ranges::find(shortlists_, need.shortlist) != shortlists_.end()) {
    return;
  }
  shortlists_.push_back(need.shortlist);
  bytes_ += need.shortlist_bytes;
}

Passes Load::passes() const {
  Passes passes;
  passes.encoder_rows = most(sources_, longest_, kEncoderRows);
  passes.source = longest_;
  passes.encoded = std::min(encoded_, kEncoderRows);
  passes.step.rows = rows_ + most(first_rows_, longest_first_, kFirstRows);
  passes.step.positions = positions_;
  passes.step.source = longest_;
  passes.step.candidates = candidates_;
  return passes;
}

MemoryBounds::MemoryBounds(const nn::Model& model, nn::TeamSize team, int workers)
    : model_(model),
      team_(team),
      fixed_(model.computed_bytes() + int64_t{workers} * team.threads * kThreadBytes) {}

Need MemoryBounds::need(const Request& request, const SearchOptions& options) const {
  const nn::ModelSpec& spec = model_.spec();
  Need need;
  need.bytes = kSentenceBytes;
  if (spec.has_encoder()) need.source = request.length();
  if (options.encode) {
    need.only_encodes = true;
    need.bytes += encoding_bytes(request);
    return need;
  }
  const kernels::CacheType type = nn::cache_type(model_.compute_type());
  need.task = make_task({options, request, spec, type, team_.kernels})->needs();
  need.bytes += need.task.bytes;
  if (spec.has_encoder()) need.bytes += nn::CrossCache::bytes(spec.decoder, type, need.source);
  if (request.allowed != nullptr) {
    need.shortlist = request.allowed.get();
    need.shortlist_bytes =
        nn::Shortlist::bytes(model_.output(), static_cast<int64_t>(request.allowed->size()));
  }
  return need;
}

// Of the result.
int64_t MemoryBounds::encoding_bytes(const Request& request) const {
  const nn::ModelSpec& spec = model_.spec();
  int64_t bytes = allocated(request.length() * spec.encoder.d_model * kNumber);
  if (spec.head) {
    bytes += allocated(spec.head->pooler_size * kNumber) + allocated(spec.head->labels * kNumber);
  }
  return bytes;
}

int64_t MemoryBounds::bytes(const Passes& passes) const {
  const nn::ModelSpec& spec = model_.spec();
  int64_t total = 0;
  if (passes.encoder_rows > 0) {
    total += nn::Encoder::bytes(model_, team_, passes.encoder_rows, passes.source);
    total +=
        nn::GrowingBuffer<float>::bytes(passes.encoder_rows * padded(spec.encoder.vector_size));
    total += allocated_by_growth(passes.encoder_rows * 2 * kNumber);
  }
  if (passes.encoded > 0) {
    total += nn::EncoderHead::bytes(spec, team_.threads, passes.encoded);
  }
  if (passes.step.rows > 0) {
    constexpr auto kRow = static_cast<int64_t>(sizeof(nn::StepRow));
    total += nn::Decoder::bytes(model_, team_, passes.step);
    total += allocated_by_growth(passes.step.rows * kRow);
  }
  return total;
}

int64_t MemoryBounds::alone(const Need& need) const {
  Load load;
  load.add(need);
  return fixed_ + bytes(load.passes()) + load.bytes();
}

void MemoryBounds::refuse(const std::string& what, int64_t bytes, int64_t limit,
                          const std::string& advice) const {
  throw MemoryLimitError(what + " may need " + std::to_string(bytes) + " bytes, of which " +
                         std::to_string(fixed_) + " are for threads and tables; max_memory is " +
                         std::to_string(limit) + ". What needs less is " + advice);
}

}  // namespace pytransformer::decode
