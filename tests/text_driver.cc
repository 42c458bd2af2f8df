// Runs the C++ tokenizer of a native file for the tests: requests come in lines on stdin, answers
// go in lines to stdout. Texts stand in hexadecimal, so that they can hold anything.
#include <charconv>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>

#include "io/json.h"
#include "io/native_file.h"
#include "text/errors.h"
#include "text/tokenizer.h"

namespace {

using namespace pytransformer;  // NOLINT(google-build-using-namespace)

std::string from_hex(std::string_view digits) {
  std::string text;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    unsigned byte = 0;
    std::from_chars(digits.data() + i, digits.data() + i + 2, byte, 16);
    text += static_cast<char>(byte);
  }
  return text;
}

std::string to_hex(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string digits;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    digits += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return digits;
}

std::vector<std::string> split(const std::string& text, char mark) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, mark);) parts.push_back(part);
  return parts;
}

std::string shown(std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return "ids\t" + text;
}

std::string shown(std::optional<int32_t> id) {
  return "id\t" + (id ? std::to_string(*id) : "none");
}

std::string shown(std::span<const std::string> texts) {
  std::string answer = "texts";
  for (const std::string& text : texts) answer += "\t" + to_hex(text);
  return answer;
}

std::string shown(const std::string& text) { return "text\t" + to_hex(text); }

// What stands behind a request's name.
class Arguments {
 public:
  explicit Arguments(std::vector<std::string> fields) : fields_(std::move(fields)) {
    fields_.resize(std::max<size_t>(fields_.size(), 4));
  }

  std::string text(size_t i) const { return from_hex(fields_[i]); }
  int32_t id() const { return std::stoi(fields_[1]); }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> result;
    for (const std::string& one : split(fields_[1], ' ')) result.push_back(std::stoi(one));
    return result;
  }
  std::vector<std::string> tokens() const {
    std::vector<std::string> result;
    for (const std::string& one : split(fields_[1], ' ')) result.push_back(from_hex(one));
    return result;
  }

 private:
  std::vector<std::string> fields_;
};

std::string answer(const text::Tokenizer& tokenizer, const std::string& request) {
  const std::vector<std::string> fields = split(request, '\t');
  const std::string& name = fields.front();
  const Arguments given(fields);
  const std::vector<std::string> tokens = given.tokens();
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  if (name == "encode") {
    const std::string source = given.text(2), target = given.text(3);
    return shown(tokenizer.encode_ids(given.text(1), {source, target}));
  }
  if (name == "encode_target") return shown(tokenizer.encode_target_ids(given.text(1)));
  if (name == "source_ids") return shown(tokenizer.source_ids(views));
  if (name == "target_ids") return shown(tokenizer.target_ids(views));
  if (name == "source_token") return shown(tokenizer.source_token(given.id()));
  if (name == "target_token") return shown(tokenizer.target_token(given.id()));
  if (name == "decode") return shown(tokenizer.decode(given.ids()));
  if (name == "closing") return shown(tokenizer.closing(given.ids()));
  if (name == "forced_bos") return shown(tokenizer.forced_bos_id(given.text(1)));
  if (name == "decoder_start") return shown(tokenizer.decoder_start_id(given.text(1)));
  if (name == "unknown") return shown(tokenizer.unknown_id());
  if (name == "source_languages") return shown(tokenizer.source_languages());
  if (name == "target_languages") return shown(tokenizer.target_languages());
  return "no such request: " + name;
}

std::string guarded(const std::function<std::string()>& run) {
  try {
    return run();
  } catch (const text::OptionError& error) {
    return "OptionError\t" + to_hex(error.what());
  } catch (const text::CheckpointError& error) {
    return "CheckpointError\t" + to_hex(error.what());
  } catch (const text::UnsupportedError& error) {
    return "UnsupportedError\t" + to_hex(error.what());
  } catch (const io::FormatError& error) {
    return "FormatError\t" + to_hex(error.what());
  } catch (const io::JsonError& error) {
    return "JsonError\t" + to_hex(error.what());
  } catch (const std::exception& error) {
    return "another error\t" + to_hex(error.what());
  }
}

// A native file's tokenizer, opened.
struct Opened {
  std::shared_ptr<const io::NativeFile> file;
  std::unique_ptr<const text::Tokenizer> tokenizer;

  explicit Opened(const std::string& path) : file(io::NativeFile::open(path)) {
    const io::Json config = io::Json::parse(file->config());
    const io::Json& settings = config.at("tokenizer").at("settings");
    text::Files files;
    for (const auto& [name, place] : settings.at("files").as_object("files")) {
      const io::TensorView* const view = file->find(place.at("tensor").as_string("tensor"));
      const auto length = static_cast<size_t>(place.at("length").as_size("length"));
      if (view == nullptr || length > view->content.size()) file->fail("there is no such tensor");
      files[name] = {reinterpret_cast<const char*>(view->content.data()), length};
    }
    tokenizer = text::create(config.at("tokenizer").at("kind").as_string("kind"), settings, files);
  }
};

}  // namespace

// Each line is `open PATH` or a request of the tokenizer that was opened last.
int main() {
  std::ios::sync_with_stdio(false);
  std::optional<Opened> opened;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << guarded([&] {
      if (!line.starts_with("open\t")) {
        return opened ? answer(*opened->tokenizer, line) : std::string("nothing is open");
      }
      opened.reset();
      opened.emplace(line.substr(5));
      return std::string("opened");
    }) << '\n';
  }
}
