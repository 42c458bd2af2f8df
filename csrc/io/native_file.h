// The native model file (docs/native-format.md): one safetensors file, mapped and used where it
// lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pytransformer::io {

class Json;

// The file is not what it should be; the message names it.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// As safetensors names them, in lower case.
enum class DataType { f32, bf16, i8, u8 };

struct TensorView {
  DataType type;
  std::vector<int64_t> shape;
  std::span<const std::byte> content;  // 64-byte aligned
};

class NativeFile {
 public:
  // Maps the file read-only. Throws std::system_error or FormatError.
  static std::shared_ptr<const NativeFile> open(const std::string& path);
  // Uses `image` (64-byte aligned) where it lies; `owner` keeps it alive.
  static std::shared_ptr<const NativeFile> from_memory(std::span<const std::byte> image,
                                                       std::shared_ptr<const void> owner,
                                                       std::string name);

  const std::string& name() const { return name_; }
  const std::string& config() const { return config_; }
  // Otherwise it is in memory.
  bool is_mapped() const { return is_mapped_; }
  int64_t size_bytes() const { return static_cast<int64_t>(image_.size()); }
  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }
  // Null if there is none of that name.
  const TensorView* find(std::string_view tensor) const;

  // Throws FormatError with the file's name in front.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  NativeFile(std::span<const std::byte> image, std::shared_ptr<const void> owner, std::string name);
  void read_header();
  void read_metadata(const Json& header);
  void read_tensor(const std::string& name, const Json& entry);
  void check_extents() const;

  std::shared_ptr<const void> owner_;
  std::span<const std::byte> image_;
  bool is_mapped_ = false;
  std::span<const std::byte> data_;  // behind the header
  std::string name_;
  std::string config_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace pytransformer::io
