#include "io/native_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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
constexpr std::string_view kFormat = "pytransformer";
constexpr std::string_view kFormatVersion = "1";

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

// size * factor, or a FormatError-worthy maximum that no file reaches.
uint64_t checked_product(uint64_t size, uint64_t factor) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(size, factor, &product)) return std::numeric_limits<uint64_t>::max();
  return product;
}

struct Extent {
  uint64_t begin;
  uint64_t end;
};

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
  return from_memory({static_cast<const std::byte*>(address), size}, std::move(owner), path);
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
  const Json::Object& entries = header.as_object("the header");

  const auto metadata = entries.find("__metadata__");
  const auto format_of = [&](std::string_view key) -> std::string {
    if (metadata == entries.end()) return {};
    const Json::Object& object = metadata->second.as_object("__metadata__");
    const auto found = object.find(key);
    return found == object.end() ? std::string() : found->second.as_string(key);
  };
  if (format_of("format") != kFormat) {
    fail("a safetensors file, but not a pytransformer model; convert the checkpoint it belongs to");
  }
  if (format_of("format_version") != kFormatVersion) {
    fail("native format version '" + format_of("format_version") +
         "' is unknown to this version of pytransformer, which reads version " +
         std::string(kFormatVersion) + "; convert the checkpoint again");
  }
  config_ = metadata->second.at("config").as_string("config");

  const std::span<const std::byte> data = image_.subspan(sizeof header_bytes + header_bytes);
  std::vector<Extent> extents;
  for (const auto& [tensor, entry] : entries) {
    if (tensor == "__metadata__") continue;
    const std::string& type = entry.at("dtype").as_string("dtype of " + tensor);
    const uint64_t width = type == "F32" ? 4 : type == "U8" ? 1 : 0;
    if (width == 0) fail("tensor " + tensor + " has the unknown type " + type);
    TensorView view;
    uint64_t bytes = width;
    for (const Json& extent : entry.at("shape").as_array("shape of " + tensor)) {
      view.shape.push_back(extent.as_size("shape of " + tensor));
      bytes = checked_product(bytes, static_cast<uint64_t>(view.shape.back()));
    }
    const Json::Array& offsets = entry.at("data_offsets").as_array("data_offsets of " + tensor);
    if (offsets.size() != 2) fail("tensor " + tensor + " has no two data_offsets");
    const auto begin = static_cast<uint64_t>(offsets[0].as_size("data_offsets of " + tensor));
    const auto end = static_cast<uint64_t>(offsets[1].as_size("data_offsets of " + tensor));
    if (begin > end || end > data.size()) {
      fail("cut short or damaged: tensor " + tensor + " ends at byte " + std::to_string(end) +
           " of " + std::to_string(data.size()));
    }
    if (end - begin != bytes) {
      fail("tensor " + tensor + " has " + std::to_string(end - begin) +
           " bytes, which does not fit its shape");
    }
    view.content = data.subspan(begin, bytes);
    if (reinterpret_cast<uintptr_t>(view.content.data()) % kAlignment != 0) {
      fail("tensor " + tensor + " is not aligned to 64 bytes");
    }
    if (type == "F32") {
      view.floats = {reinterpret_cast<const float*>(view.content.data()), bytes / 4};
    }
    extents.push_back({begin, end});
    tensors_.emplace(tensor, std::move(view));
  }

  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  uint64_t expected = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != expected) fail("tensors overlap or leave a hole");
    expected = extent.end;
  }
  if (expected != data.size()) fail("bytes after the last tensor");
}

}  // namespace pytransformer::io
