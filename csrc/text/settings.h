// Reads the settings and the files of a tokenizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "text/tokenizer.h"

namespace pytransformer::text {

// Each throws io::JsonError if the setting is missing or has another type.
bool flag(const io::Json& settings, std::string_view key);
// The same, but false where there is none.
bool find_flag(const io::Json& settings, std::string_view key);
std::string string(const io::Json& settings, std::string_view key);
// Null is none; so is a missing one for `find_string`.
std::optional<std::string> nullable_string(const io::Json& settings, std::string_view key);
std::optional<std::string> find_string(const io::Json& settings, std::string_view key);
std::vector<std::string> strings(const io::Json& settings, std::string_view key);
// A whole number that an id or a number of ids may be.
int32_t id(const io::Json& settings, std::string_view key);

// Throws CheckpointError if there is none of that name.
std::string_view file(const Files& files, std::string_view name);

}  // namespace pytransformer::text
