// A strict reader of JSON (RFC 8259) for the header of the native file and the configuration in it.
// Input is hostile: depth and numbers are bounded, duplicate keys are refused.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pytransformer::io {

class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  // Throws JsonError with the offset of the first fault.
  static Json parse(std::string_view text);

  // Hands over the items of a list of strings and nulls, which vocabularies are, without making a
  // value of each. Throws as `parse` does, and for anything else.
  using TakeString = std::function<void(std::optional<std::string_view>)>;
  static void read_strings(std::string_view text, const TakeString& take);

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_number() const { return std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }

  // Each throws JsonError that says `what` is not of that type.
  bool as_bool(std::string_view what) const;
  double as_number(std::string_view what) const;
  // A whole number in [0, 2^53].
  int64_t as_size(std::string_view what) const;
  const std::string& as_string(std::string_view what) const;
  const Array& as_array(std::string_view what) const;
  const Object& as_object(std::string_view what) const;
  // The member `key` of an object; throws JsonError if it is missing.
  const Json& at(std::string_view key) const;
  // The same; null where it is missing or null.
  const Json* find(std::string_view key) const;

 private:
  friend class JsonParser;
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value_ = nullptr;
};

}  // namespace pytransformer::io
