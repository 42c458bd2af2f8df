// One step of the decoder for the rows (live hypotheses) of many sentences, and the output layer.
#pragma once

#include <span>
#include <vector>

#include "nn/cache.h"
#include "nn/distances.h"
#include "nn/layers.h"
#include "nn/model.h"
#include "nn/shortlist.h"
#include "nn/team.h"

namespace pytransformer::nn {

// The output layer works tile by tile. The size of a tile is part of the numeric contract: sums of
// exponentials run over tiles, in this order, whatever the number of threads.
inline constexpr int64_t kTilePanels = 16;

// Where the attention weights of some layers go, for one sentence; null for what is not asked for.
struct AttentionTap {
  int64_t first_layer;
  int64_t layers;
  float* cross;  // [layers, heads, rows, source]
  float* self;   // [layers, heads, rows, positions]; what lies behind a row's own is not written
  int64_t positions;
};

// The rows of one sentence: they stand together in the step and share its caches.
struct StepSentence {
  const CrossCache* cross;  // null if there is no encoder
  SelfCache* self;
  int64_t first_row;
  int64_t rows;
  const Shortlist* shortlist;     // the tokens that may be generated; null for the whole vocabulary
  const AttentionTap* attention;  // or null
};

// One token of one hypothesis. The rows of a sentence may also be tokens that follow each other in
// one hypothesis: each is written to the cache before the next one attends.
struct StepRow {
  int32_t token;  // below 0: an embedding of zeros
  int32_t position;
  int32_t slot;         // where this token's keys and values go
  const int32_t* path;  // slots of positions 0 to `position`; the last one is `slot`
  // Tokens, in order, that are kept out of the candidates; their logits are given one by one.
  std::span<const int32_t> aside;
  float* aside_logits;  // out: [aside]; -infinity for tokens that the shortlist lacks
  float* logits;        // out: [vocab_size] or null; -infinity as above
  bool is_silent;       // nobody asks what follows it; not all rows of a step may be so
  bool excludes_aside;  // tokens that are set aside do not count in the row's log_sum
};

// What a step gives for each row that is not silent.
struct StepOutput {
  int32_t num_candidates;                 // in: how many of the best tokens are asked for
  bool want_log_sum;                      // in: whether log_sum is asked for
  std::vector<kernels::TopK> candidates;  // out: [rows]
  std::vector<float> log_sum;  // out: [rows], log of the sum of exp(logit); -infinity: of none
};

// What decides how large the buffers of a step are.
struct StepSizes {
  int64_t rows = 0;
  int64_t positions = 0;  // of the longest hypothesis
  int64_t source = 0;     // rows of the longest source
  int64_t candidates = 0;
};

class Decoder {
 public:
  Decoder(const Model& model, Team& team);
  // Most that its buffers take, and what a step gives, as long as no step is larger in anything.
  static int64_t bytes(const Model& model, const TeamSize& team, const StepSizes& sizes);

  // The candidates stay valid until the next call.
  void step(std::span<const StepRow> rows, std::span<const StepSentence> sentences,
            StepOutput& output);

 private:
  // Some of an output layer's columns, and the tokens of the first and the last of them.
  struct Tile {
    int64_t first;
    int64_t columns;
    int32_t lowest;
    int32_t highest;
  };

  // What a thread has made of one row in the tiles that are behind it.
  struct RowReduction {
    kernels::TopK top;
    std::span<const int32_t> aside;  // those that may lie in tiles to come, and their logits
    float* aside_logits;
    float* logits;
    bool excludes_aside;

    bool has_aside(const Tile& tile) const {
      return !aside.empty() && aside.front() <= tile.highest;
    }
  };

  // Rows that share one output layer: the model's, or that of a shortlist. In the output layer rows
  // are counted without silent ones.
  struct Segment {
    const Linear* layer;
    std::span<const int32_t> ids;  // of a shortlist's tokens; empty for the whole vocabulary
    int64_t tokens;
    int64_t first_row;
    int64_t rows;
    int64_t first_tile;  // of the tiles of all segments

    int32_t token(int64_t column) const {
      return ids.empty() ? static_cast<int32_t>(column) : ids[static_cast<size_t>(column)];
    }
    int64_t tiles() const { return (layer->panels() + kTilePanels - 1) / kTilePanels; }
    Tile tile(int64_t index) const;
    // Where in the tile a token stands that is not above the tile's highest; -1 if it does not.
    int64_t column(const Tile& tile, int32_t token) const;
  };

  // What a token's row finds and leaves in the cache of a layer without self-attention.
  struct RowState {
    const float* previous;  // null at the start
    float* state;
    int64_t steps;
  };

  static int64_t scratch_of(const StackSpec& spec, const kernels::Table& kernels, int64_t positions,
                            int64_t source);
  static int64_t output_bytes(const StackSpec& spec, int threads, const StepSizes& sizes);
  void attention(Pass& pass, int64_t layer);
  void self_attention(Pass& pass, int64_t layer);
  void attend_to_cache(const Pass& pass, int64_t layer, int64_t row);
  void attend(const kernels::Table& kernels, int64_t layer, int64_t thread,
              kernels::CachedAttentionArgs& args);
  void cross_attention(Pass& pass, int64_t layer);
  // recurrence.cc
  RowState row_state(int64_t layer, int64_t row) const;
  void ssru(Pass& pass, int64_t layer);
  void average_attention(Pass& pass, int64_t layer);
  void running_mean(const Pass& pass, int64_t layer);
  // The row of the tap's arrays, [layers, heads, rows], where a head's weights go; -1 if nowhere.
  int64_t tap_row(const StepSentence& sentence, int64_t layer, int64_t head) const;
  // Directs the weights of attention to where the sentence wants them, if it does.
  void record(const StepSentence& sentence, int64_t layer, int64_t head, int64_t row,
              kernels::CachedAttentionArgs& args) const;
  void record(const StepSentence& sentence, int64_t layer, int64_t head,
              kernels::AttentionArgs& args) const;
  void prepare(StepOutput& output);
  void prepare_segments();
  int64_t asked_rows(const StepSentence& sentence) const;
  void prepare_output(StepOutput& output);
  void output(Pass& pass, StepOutput& output);
  void convert_segments(Pass& pass);
  void start_rows(const Thread& thread, const StepOutput& output);
  void compute_tiles(const Thread& thread, const Segment& segment, const kernels::Operand& x,
                     Range tiles, bool want_sum);
  static void reduce_row(const kernels::Table& kernels, const Segment& segment, const Tile& tile,
                         float* logits, float* max, float* sum, RowReduction& row);
  static void copy_logits(const Segment& segment, const Tile& tile, const float* logits, float* to);
  static void set_aside(const Segment& segment, const Tile& tile, float* logits, RowReduction& row);
  void merge(const Thread& thread, const Segment& segment, StepOutput& output);

  const Model& model_;
  Team& team_;
  std::span<const StepRow> rows_;
  std::span<const StepSentence> sentences_;
  StackWorkspace workspace_;
  const StackBuffers* buffers_ = nullptr;
  std::vector<int32_t> ids_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> sentence_of_row_;
  std::vector<int32_t> asked_;  // the rows that are not silent
  DistanceTables distances_;
  GrowingBuffer<float> scratch_;  // [threads, scratch_size_]
  int64_t scratch_size_ = 0;
  std::vector<Segment> segments_;
  int64_t most_tiles_ = 0;         // of one segment
  GrowingBuffer<float> tile_;      // [threads, rows, tile]
  GrowingBuffer<float> tile_max_;  // [rows, most_tiles_], likewise the sums
  GrowingBuffer<float> tile_sum_;
  std::vector<float> candidate_logits_;  // [threads, rows, num_candidates]
  std::vector<int32_t> candidate_ids_;
  std::vector<RowReduction> reductions_;  // [threads, rows]
};

}  // namespace pytransformer::nn
