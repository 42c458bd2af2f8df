// One step of the decoder for the rows (live hypotheses) of many sentences, and the output layer.
#pragma once

#include <span>
#include <vector>

#include "nn/cache.h"
#include "nn/layers.h"
#include "nn/model.h"
#include "nn/team.h"

namespace pytransformer::nn {

// The output layer works tile by tile. The size of a tile is part of the numeric contract: sums of
// exponentials run over tiles, in this order, whatever the number of threads.
inline constexpr int64_t kTilePanels = 16;

// The rows of one sentence: they stand together in the step and share its caches.
struct StepSentence {
  const CrossCache* cross;
  SelfCache* self;
  int64_t first_row;
  int64_t rows;
};

// One token of one hypothesis.
struct StepRow {
  int32_t token;
  int32_t position;
  int32_t slot;         // where this token's keys and values go
  const int32_t* path;  // slots of positions 0 to `position`; the last one is `slot`
};

// What a step gives for each row.
struct StepOutput {
  int32_t num_candidates;                 // in: how many of the best tokens are asked for
  bool want_log_sum;                      // in: whether log_sum is asked for
  float* logits;                          // in: [rows, vocab_size] or null; out: all logits
  std::vector<kernels::TopK> candidates;  // out: [rows]
  std::vector<float> log_sum;             // out: [rows], log of the sum of exp(logit)
};

class Decoder {
 public:
  Decoder(const Model& model, Team& team) : model_(model), team_(team) {}

  // The candidates stay valid until the next call.
  void step(std::span<const StepRow> rows, std::span<const StepSentence> sentences,
            StepOutput& output);

 private:
  // What the output layer keeps between its two halves, for each thread or each row.
  struct OutputBuffers {
    Rows tile;      // this thread's logits of one tile of the vocabulary
    float* maxima;  // [rows, tiles]
    float* sums;    // [rows, tiles] or null
    int64_t tiles;
  };

  void self_attention(Pass& pass, int64_t layer);
  void attend_to_cache(const Pass& pass, int64_t layer, int64_t row);
  void cross_attention(Pass& pass, int64_t layer);
  void output(Pass& pass, StepOutput& output);
  void reduce_tiles(const Thread& thread, const kernels::Operand& x, StepOutput& output,
                    const OutputBuffers& own);
  void merge(const Thread& thread, StepOutput& output, const OutputBuffers& own);
  void prepare(StepOutput& output);

  const Model& model_;
  Team& team_;
  std::span<const StepRow> rows_;
  std::span<const StepSentence> sentences_;
  StackWorkspace workspace_;
  const StackBuffers* buffers_ = nullptr;
  std::vector<int32_t> ids_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> sentence_of_row_;
  GrowingBuffer<float> scratch_;  // [threads, scratch_size_]
  int64_t scratch_size_ = 0;
  GrowingBuffer<float> tile_;  // [threads, rows, tile]
  GrowingBuffer<float> tile_max_;
  GrowingBuffer<float> tile_sum_;
  std::vector<float> candidate_logits_;  // [threads, rows, num_candidates]
  std::vector<int32_t> candidate_ids_;
  std::vector<kernels::TopK> tops_;  // [threads, rows]
};

}  // namespace pytransformer::nn
