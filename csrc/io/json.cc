#include "io/json.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "io/utf8.h"

namespace pytransformer::io {
namespace {

constexpr int kMaxDepth = 32;

[[noreturn]] void wrong_type(std::string_view what, std::string_view expected) {
  throw JsonError(std::string(what) + " is not " + std::string(expected));
}

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json document() {
    check_utf8();
    Json value = parse_value(0);
    end();
    return value;
  }

  void strings(const Json::TakeString& take) {
    check_utf8();
    expect('[');
    if (accept(']')) return end();
    do {
      if (peek() == 'n') {
        word("null");
        take(std::nullopt);
      } else if (peek() == '"') {
        take(parse_string());
      } else {
        fail("expected a string");
      }
    } while (accept(','));
    expect(']');
    end();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw JsonError("JSON: " + what + " at byte " + std::to_string(position_));
  }

  void check_utf8() {
    const size_t place = find_invalid_utf8(text_);
    if (place == std::string_view::npos) return;
    position_ = place;
    fail("not UTF-8");
  }

  void end() {
    skip_space();
    if (position_ != text_.size()) fail("text after the value");
  }

  void skip_space() {
    while (position_ < text_.size()) {
      const char c = text_[position_];
      if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
      ++position_;
    }
  }

  char peek() {
    skip_space();
    if (position_ == text_.size()) fail("text ends too early");
    return text_[position_];
  }

  void expect(char c) {
    if (peek() != c) fail(std::string("expected '") + c + "'");
    ++position_;
  }

  bool accept(char c) {
    if (peek() != c) return false;
    ++position_;
    return true;
  }

  Json parse_value(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    Json value;
    switch (peek()) {
      case '{':
        value.value_ = parse_object(depth);
        break;
      case '[':
        value.value_ = parse_array(depth);
        break;
      case '"':
        value.value_ = parse_string();
        break;
      case 't':
        word("true");
        value.value_ = true;
        break;
      case 'f':
        word("false");
        value.value_ = false;
        break;
      case 'n':
        word("null");
        break;
      default:
        value.value_ = parse_number();
    }
    return value;
  }

  void word(std::string_view expected) {
    if (text_.substr(position_, expected.size()) != expected) fail("unknown word");
    position_ += expected.size();
  }

  Json::Object parse_object(int depth) {
    Json::Object object;
    expect('{');
    if (accept('}')) return object;
    do {
      if (peek() != '"') fail("expected a key");
      std::string key = parse_string();
      expect(':');
      Json value = parse_value(depth + 1);
      if (!object.emplace(std::move(key), std::move(value)).second) fail("duplicate key");
    } while (accept(','));
    expect('}');
    return object;
  }

  Json::Array parse_array(int depth) {
    Json::Array array;
    expect('[');
    if (accept(']')) return array;
    do {
      array.push_back(parse_value(depth + 1));
    } while (accept(','));
    expect(']');
    return array;
  }

  double parse_number() {
    // from_chars would also take "inf" and "nan", which are not JSON.
    const char first = text_[position_];
    if (first != '-' && (first < '0' || first > '9')) fail("unexpected character");
    double number = 0;
    const char* const begin = text_.data() + position_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), number);
    if (error != std::errc() || !std::isfinite(number)) fail("bad number");
    position_ += static_cast<size_t>(end - begin);
    return number;
  }

  static bool is_plain(char c) {
    return c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20;
  }

  std::string parse_string() {
    std::string result;
    ++position_;
    while (true) {
      const size_t begin = position_;
      while (position_ < text_.size() && is_plain(text_[position_])) ++position_;
      result.append(text_, begin, position_ - begin);
      if (position_ == text_.size()) fail("string ends too early");
      const char c = text_[position_++];
      if (c == '"') return result;
      if (c != '\\') fail("control character in a string");
      append_escape(result);
    }
  }

  void append_escape(std::string& result) {
    if (position_ == text_.size()) fail("string ends too early");
    const char c = text_[position_++];
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    if (const size_t i = kNames.find(c); i != std::string_view::npos) {
      result += kValues[i];
    } else if (c == 'u') {
      append_utf8(result, parse_code_point());
    } else {
      fail("unknown escape");
    }
  }

  uint32_t parse_code_point() {
    const uint32_t high = parse_hex4();
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high > 0xDBFF || text_.substr(position_, 2) != "\\u") fail("lone surrogate");
    position_ += 2;
    const uint32_t low = parse_hex4();
    if (low < 0xDC00 || low > 0xDFFF) fail("lone surrogate");
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
  }

  uint32_t parse_hex4() {
    uint32_t value = 0;
    const std::string_view digits = text_.substr(position_, 4);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) fail("bad escape");
    position_ += 4;
    return value;
  }

  static void append_utf8(std::string& result, uint32_t c) {
    const auto tail = [&](int shift) { result += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
    if (c < 0x80) {
      result += static_cast<char>(c);
    } else if (c < 0x800) {
      result += static_cast<char>(0xC0 | (c >> 6));
      tail(0);
    } else if (c < 0x10000) {
      result += static_cast<char>(0xE0 | (c >> 12));
      tail(6);
      tail(0);
    } else {
      result += static_cast<char>(0xF0 | (c >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }

  std::string_view text_;
  size_t position_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

void Json::read_strings(std::string_view text, const TakeString& take) {
  JsonParser(text).strings(take);
}

bool Json::as_bool(std::string_view what) const {
  if (const bool* value = std::get_if<bool>(&value_)) return *value;
  wrong_type(what, "true or false");
}

double Json::as_number(std::string_view what) const {
  if (const double* value = std::get_if<double>(&value_)) return *value;
  wrong_type(what, "a number");
}

int64_t Json::as_size(std::string_view what) const {
  const double number = as_number(what);
  if (number < 0 || number > 9007199254740992.0 || number != std::floor(number)) {
    wrong_type(what, "a whole number that is not negative");
  }
  return static_cast<int64_t>(number);
}

const std::string& Json::as_string(std::string_view what) const {
  if (const std::string* value = std::get_if<std::string>(&value_)) return *value;
  wrong_type(what, "a string");
}

const Json::Array& Json::as_array(std::string_view what) const {
  if (const Array* value = std::get_if<Array>(&value_)) return *value;
  wrong_type(what, "a list");
}

const Json::Object& Json::as_object(std::string_view what) const {
  if (const Object* value = std::get_if<Object>(&value_)) return *value;
  wrong_type(what, "an object");
}

const Json* Json::find(std::string_view key) const {
  const Object& object = as_object("the parent of '" + std::string(key) + "'");
  const auto found = object.find(key);
  return found == object.end() || found->second.is_null() ? nullptr : &found->second;
}

const Json& Json::at(std::string_view key) const {
  const Object& object = as_object("the parent of '" + std::string(key) + "'");
  const auto found = object.find(key);
  if (found == object.end()) throw JsonError("'" + std::string(key) + "' is missing");
  return found->second;
}

}  // namespace pytransformer::io
