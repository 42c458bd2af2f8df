// Translates standard input line by line.
//
//   translate MODEL [--from LANG] [--to LANG] [--beam-size N] [--scores | --stream]
//
// --scores writes "score<TAB>text", the score as a hexadecimal number, which loses no bit of it;
// --stream writes each word as soon as nothing can change it any more.
#include <cstdlib>
#include <exception>
#include <iostream>
#include <pytransformer.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

// Lines translated together are faster than one by one.
constexpr std::size_t kBatch = 64;

struct Arguments {
  std::string model, from, to;
  pytransformer::Options options;
  bool scores = false;
  bool stream = false;
};

Arguments parse(const std::vector<std::string>& words) {
  Arguments arguments;
  const auto value = [&](std::size_t i) {
    return i < words.size() ? words[i] : throw std::invalid_argument(words.back() + " what?");
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--from") {
      arguments.from = value(++i);
    } else if (words[i] == "--to") {
      arguments.to = value(++i);
    } else if (words[i] == "--beam-size") {
      arguments.options.beam_size = std::atoi(value(++i).c_str());
    } else if (words[i] == "--scores") {
      arguments.scores = true;
    } else if (words[i] == "--stream") {
      arguments.stream = true;
    } else {
      arguments.model = words[i];
    }
  }
  if (arguments.model.empty()) {
    throw std::invalid_argument("MODEL [--from LANG] [--to LANG] [--beam-size N] [--scores]");
  }
  return arguments;
}

void translate(const pytransformer::Translator& translator, const std::vector<std::string>& lines,
               const Arguments& arguments) {
  const std::vector<std::string_view> views(lines.begin(), lines.end());
  for (const auto& found : translator.translate_texts(views, arguments.options)) {
    const pytransformer::Hypothesis& best = found.front();
    if (arguments.scores) std::cout << std::hexfloat << best.score << '\t';
    std::cout << best.text << '\n';
  }
}

void run(Arguments arguments) {
  arguments.options.src_lang = arguments.from.c_str();
  arguments.options.tgt_lang = arguments.to.c_str();
  arguments.options.return_scores = arguments.scores;
  const pytransformer::Translator translator(arguments.model);
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) {
    if (arguments.stream) {
      translator.translate(line, arguments.options, [](std::size_t, std::string_view piece) {
        std::cout << piece << std::flush;
      });
      std::cout << std::endl;
      continue;
    }
    lines.push_back(std::move(line));
    if (lines.size() < kBatch) continue;
    translate(translator, lines, arguments);
    lines.clear();
  }
  translate(translator, lines, arguments);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse({argv + 1, argv + argc}));
  } catch (const std::exception& error) {
    std::cerr << "translate: " << error.what() << '\n';
    return 1;
  }
}
