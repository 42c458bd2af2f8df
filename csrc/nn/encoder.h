// The encoder over a packed batch: rows of all sentences stand one under another, without padding.
#pragma once

#include <span>
#include <vector>

#include "nn/cache.h"
#include "nn/distances.h"
#include "nn/layers.h"
#include "nn/model.h"
#include "nn/team.h"

namespace pytransformer::nn {

class Encoder {
 public:
  Encoder(const Model& model, Team& team);
  // Most that its buffers take as long as no run has more rows or a longer sentence.
  static int64_t bytes(const Model& model, const TeamSize& team, int64_t rows, int64_t longest);

  // Encodes the sentences (ids, end token included, at most max_length of them each).
  // The states [sum of lengths, width] stay valid until the next call.
  // `weights`, unless null: the attention of a single sentence, [layers, heads, length, length].
  Rows run(std::span<const std::span<const int32_t>> sentences, float* weights = nullptr);
  // The same of sentences in which each token has a type: `segments` are those of all tokens.
  Rows run(std::span<const std::span<const int32_t>> sentences, std::span<const int32_t> segments);
  // The same of vectors [sum of lengths, vectors.stride], which an encoder may read instead.
  Rows run(Rows vectors, std::span<const int64_t> lengths);

  // Fills one cache per sentence of the last run with the keys and values of all decoder layers.
  void fill(std::span<CrossCache* const> caches);

 private:
  struct Sentence {
    int64_t first_row;
    int64_t length;
  };

  static int64_t scratch_of(const StackSpec& spec, const kernels::Table& kernels, int64_t longest);
  void start();
  void add_sentence(int64_t length);
  Rows run_layers(Rows vectors, float* weights);
  void attend(const Pass& pass, int64_t layer, float* weights);
  void attend(const Pass& pass, int64_t layer, const Sentence& sentence, int64_t head,
              float* weights);
  void project(const Thread& thread, std::span<CrossCache* const> caches);

  const Model& model_;
  Team& team_;
  StackWorkspace workspace_;
  const StackBuffers* buffers_ = nullptr;
  GrowingBuffer<float> scratch_;    // [threads, scratch_size_]
  GrowingBuffer<float> key_value_;  // keys and values of one decoder layer
  DistanceTables distances_;
  int64_t scratch_size_ = 0;
  int64_t longest_ = 0;
  std::vector<Sentence> sentences_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> positions_;
};

}  // namespace pytransformer::nn
