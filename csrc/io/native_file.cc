#include "io/native_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

#include "io/json.h"

namespace pytransformer::io {
namespace {

constexpr size_t kAlignment = 64;
// The format's own limit: a larger header is a sign of a hostile or foreign file.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kFormat = "pytransformer";
constexpr std::string_view kFormatVersion = "1";

struct NamedType {
  std::string_view name;
  DataType type;
  uint64_t bytes;
};
constexpr std::array<NamedType, 4> kTypes = {{
    {"F32", DataType::f32, 4},
    {"BF16", DataType::bf16, 2},
    {"I8", DataType::i8, 1},
    {"U8", DataType::u8, 1},
}};

// A file descriptor that is closed on every way out.
class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), path);
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// size * factor, or the largest number, which no file reaches, if that overflows.
uint64_t checked_product(uint64_t size, uint64_t factor) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(size, factor, &product)) return std::numeric_limits<uint64_t>::max();
  return product;
}

}  // namespace

std::shared_ptr<const NativeFile> NativeFile::open(const std::string& path) {
  const Descriptor file(path);
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) {
    throw std::system_error(errno, std::generic_category(), path);
  }
  if (!S_ISREG(status.st_mode)) throw FormatError(path + ": not a regular file");
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) throw FormatError(path + ": the file is empty");
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw std::system_error(errno, std::generic_category(), path);
  std::shared_ptr<const void> owner(
      address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  const std::span<const std::byte> image(static_cast<const std::byte*>(address), size);
  const std::shared_ptr<NativeFile> mapped(new NativeFile(image, std::move(owner), path));
  mapped->is_mapped_ = true;
  return mapped;
}

std::shared_ptr<const NativeFile> NativeFile::from_memory(std::span<const std::byte> image,
                                                          std::shared_ptr<const void> owner,
                                                          std::string name) {
  return std::shared_ptr<const NativeFile>(
      new NativeFile(image, std::move(owner), std::move(name)));
}

NativeFile::NativeFile(std::span<const std::byte> image, std::shared_ptr<const void> owner,
                       std::string name)
    : owner_(std::move(owner)), image_(image), name_(std::move(name)) {
  if (reinterpret_cast<uintptr_t>(image_.data()) % kAlignment != 0) {
    fail("the image in memory is not aligned to 64 bytes");
  }
  try {
    read_header();
  } catch (const JsonError& error) {
    fail(std::string("damaged header: ") + error.what());
  }
}

void NativeFile::fail(const std::string& what) const { throw FormatError(name_ + ": " + what); }

const TensorView* NativeFile::find(std::string_view tensor) const {
  const auto found = tensors_.find(tensor);
  return found == tensors_.end() ? nullptr : &found->second;
}

void NativeFile::read_header() {
  uint64_t header_bytes = 0;
  if (image_.size() < sizeof header_bytes) fail("too short to be a safetensors file");
  std::memcpy(&header_bytes, image_.data(), sizeof header_bytes);
  const uint64_t room = image_.size() - sizeof header_bytes;
  if (header_bytes > room || header_bytes > kMaxHeaderBytes) {
    fail("not a safetensors file, or cut short: its header would have " +
         std::to_string(header_bytes) + " bytes");
  }
  const auto* const text = reinterpret_cast<const char*>(image_.data()) + sizeof header_bytes;
  const Json header = Json::parse({text, header_bytes});
  read_metadata(header);
  data_ = image_.subspan(sizeof header_bytes + header_bytes);
  for (const auto& [name, entry] : header.as_object("the header")) {
    if (name != kMetadata) read_tensor(name, entry);
  }
  check_extents();
}

void NativeFile::read_metadata(const Json& header) {
  static const Json kNothing = Json::parse("{}");
  const Json::Object& entries = header.as_object("the header");
  const auto found = entries.find(kMetadata);
  const Json::Object& metadata =
      (found == entries.end() ? kNothing : found->second).as_object(kMetadata);
  const auto text_of = [&](std::string_view key) {
    const auto entry = metadata.find(key);
    return entry == metadata.end() ? std::string() : entry->second.as_string(key);
  };
  if (text_of("format") != kFormat) {
    fail("a safetensors file, but not a pytransformer model; convert the checkpoint it belongs to");
  }
  if (text_of("format_version") != kFormatVersion) {
    fail("native format version '" + text_of("format_version") +
         "' is unknown to this version of pytransformer, which reads version " +
         std::string(kFormatVersion) + "; convert the checkpoint again");
  }
  config_ = text_of("config");
}

void NativeFile::read_tensor(const std::string& name, const Json& entry) {
  const std::string& type = entry.at("dtype").as_string("dtype of " + name);
  const auto* const known =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.name == type; });
  if (known == kTypes.end()) fail("tensor " + name + " has the unknown type " + type);
  TensorView view = {};
  view.type = known->type;
  uint64_t bytes = known->bytes;
  for (const Json& extent : entry.at("shape").as_array("shape of " + name)) {
    view.shape.push_back(extent.as_size("shape of " + name));
    bytes = checked_product(bytes, static_cast<uint64_t>(view.shape.back()));
  }
  const Json::Array& offsets = entry.at("data_offsets").as_array("data_offsets of " + name);
  if (offsets.size() != 2) fail("tensor " + name + " has no two data_offsets");
  const auto begin = static_cast<uint64_t>(offsets[0].as_size("data_offsets of " + name));
  const auto end = static_cast<uint64_t>(offsets[1].as_size("data_offsets of " + name));
  if (begin > end || end > data_.size()) {
    fail("cut short or damaged: tensor " + name + " ends at byte " + std::to_string(end) + " of " +
         std::to_string(data_.size()));
  }
  if (end - begin != bytes) {
    fail("tensor " + name + " has " + std::to_string(end - begin) +
         " bytes, which does not fit its shape");
  }
  view.content = data_.subspan(begin, bytes);
  if (reinterpret_cast<uintptr_t>(view.content.data()) % kAlignment != 0) {
    fail("tensor " + name + " is not aligned to 64 bytes");
  }
  tensors_.emplace(name, std::move(view));
}

// The tensors must cover the data exactly: no overlap, no hole, nothing behind the last one.
void NativeFile::check_extents() const {
  std::vector<std::span<const std::byte>> extents;
  for (const auto& [name, view] : tensors_) extents.push_back(view.content);
  std::sort(extents.begin(), extents.end(), [](const auto& a, const auto& b) {
    return a.data() != b.data() ? a.data() < b.data() : a.size() < b.size();
  });
  const std::byte* expected = data_.data();
  for (const std::span<const std::byte> extent : extents) {
    if (extent.data() != expected) fail("tensors overlap or leave a hole");
    expected = extent.data() + extent.size();
  }
  if (expected != data_.data() + data_.size()) fail("bytes after the last tensor");
}

}  // namespace pytransformer::io
