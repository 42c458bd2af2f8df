// Finds the tensors of the native file by name and gathers everything that is wrong, to be raised
// as one error.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "io/native_file.h"
#include "nn/model.h"

namespace pytransformer::nn {

// The number format of a matrix.
kernels::ComputeType type_of(const io::TensorView& matrix);

class WeightReader {
 public:
  explicit WeightReader(const io::NativeFile& file) : file_(file) {}

  const float* tensor(const std::string& name, const std::vector<int64_t>& shape);
  // A matrix in any of the number formats; the type of its tensor says which.
  kernels::Panels matrix(const std::string& name, int64_t outputs, int64_t inputs);
  // `outputs` and `inputs` are sizes in memory or are padded here.
  Linear linear(const std::string& name, int64_t outputs, int64_t inputs);
  // The same, or a layer without weights if the file has none.
  Linear optional_linear(const std::string& name, int64_t outputs, int64_t inputs);
  LayerNorm layer_norm(const std::string& name, const StackSpec& spec);

  Embedding embedding(const std::string& side, const ModelSpec& model, const StackSpec& spec);
  SelfAttention self_attention(const std::string& name, const StackSpec& spec);
  CrossAttention cross_attention(const std::string& name, const StackSpec& spec);
  Ssru ssru(const std::string& name, const StackSpec& spec);
  AverageAttention average(const std::string& name, const StackSpec& spec);
  FeedForward feed_forward(const std::string& name, const StackSpec& spec);

  // Throws io::FormatError if anything was wrong or if a tensor was not asked for.
  void finish();

 private:
  // Null, and a fault, unless there is such a tensor.
  const std::byte* bytes(const std::string& name, io::DataType type,
                         const std::vector<int64_t>& shape);
  // The norm of a layer: null pointers if layers have none.
  LayerNorm layers_norm(const std::string& name, const StackSpec& spec);
  Distances distances(const std::string& name, const StackSpec& spec);
  bool has(const std::string& name) const { return file_.find(name) != nullptr; }

  const io::NativeFile& file_;
  std::set<std::string, std::less<>> used_;
  std::string faults_;
};

}  // namespace pytransformer::nn
