#include "text/settings.h"

#include "text/errors.h"
#include "text/unicode.h"

namespace pytransformer::text {

using io::Json;

bool flag(const Json& settings, std::string_view key) { return settings.at(key).as_bool(key); }

bool find_flag(const Json& settings, std::string_view key) {
  const Json* const found = settings.find(key);
  return found != nullptr && found->as_bool(key);
}

std::string string(const Json& settings, std::string_view key) {
  return settings.at(key).as_string(key);
}

std::optional<std::string> nullable_string(const Json& settings, std::string_view key) {
  const Json& found = settings.at(key);
  if (found.is_null()) return std::nullopt;
  return found.as_string(key);
}

std::optional<std::string> find_string(const Json& settings, std::string_view key) {
  const Json* const found = settings.find(key);
  if (found == nullptr) return std::nullopt;
  return found->as_string(key);
}

std::vector<std::string> strings(const Json& settings, std::string_view key) {
  std::vector<std::string> result;
  for (const Json& item : settings.at(key).as_array(key)) result.push_back(item.as_string(key));
  return result;
}

int32_t id(const Json& settings, std::string_view key) {
  const int64_t number = settings.at(key).as_size(key);
  if (number > INT32_MAX) {
    throw CheckpointError("the tokenizer's settings: " + quoted(key) + " is " +
                          std::to_string(number) + ", expected at most 2147483647");
  }
  return static_cast<int32_t>(number);
}

std::string_view file(const Files& files, std::string_view name) {
  const auto found = files.find(name);
  if (found == files.end()) {
    throw CheckpointError("the tokenizer's settings or files are incomplete: " + quoted(name) +
                          " is missing");
  }
  return found->second;
}

}  // namespace pytransformer::text
