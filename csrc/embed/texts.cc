#include "embed/texts.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "embed/fault.h"
#include "embed/line_stream.h"
#include "text/unicode.h"

namespace pytransformer::embed {
namespace {

struct Line {
  size_t text;  // whose line it is
  bool is_last;
  bool has_content;
  std::string_view ending;  // what it keeps of "\r\n"
};

// Calls back with pieces of the texts. Lines come in order; what comes of the others waits.
class TextStream {
 public:
  TextStream(const std::vector<Line>& lines, const Decoding& decoding,
             const text::Tokenizer& tokenizer, const Ids& prefix)
      : lines_(lines), decoding_(decoding), streams_(lines.size(), LineStream(tokenizer, prefix)) {}

  // Tells of the lines without content that stand at the beginning.
  bool begin() { return advance(); }

  bool operator()(const decode::TokenEvent& event) {
    streams_[event.sentence].add(event.step, event.token);
    return event.sentence != current_ || advance();
  }

 private:
  bool advance() {
    for (; current_ < lines_.size(); ++current_) {
      const Line& line = lines_[current_];
      LineStream& stream = streams_[current_];
      std::string piece = line.has_content ? stream.take() : std::string();
      const bool ended = stream.ended() || !line.has_content;
      if (ended) piece += line.ending;
      if (ended && !line.is_last) piece += '\n';
      if (!piece.empty() &&
          decoding_.on_text(decoding_.context, line.text, piece.data(), piece.size()) != 0) {
        return false;
      }
      if (!ended) break;
    }
    return true;
  }

  const std::vector<Line>& lines_;
  const Decoding& decoding_;
  std::vector<LineStream> streams_;
  size_t current_ = 0;
};

// The lines of texts, and their sentences.
struct Cut {
  std::vector<Line> lines;
  std::vector<Sentence> sentences;
};

Cut cut(std::span<const std::string_view> texts, const text::Tokenizer& tokenizer,
        const Decoding& decoding, const Ids& nothing) {
  Cut all;
  for (size_t owner = 0; owner < texts.size(); ++owner) {
    std::string_view rest = texts[owner];
    for (bool is_last = false; !is_last;) {
      const size_t end = rest.find('\n');
      is_last = end == std::string_view::npos;
      const std::string_view line = rest.substr(0, end);
      if (!is_last) rest.remove_prefix(end + 1);
      const bool has_content = !text::is_blank(line);
      Ids source = has_content ? tokenizer.encode_ids(line, decoding.languages) : nothing;
      all.lines.push_back({owner, is_last, source != nothing, line.ends_with('\r') ? "\r" : ""});
      all.sentences.push_back({std::move(source), {}, owner});
    }
  }
  return all;
}

// How every line's translation begins.
Ids prefix_of(const text::Tokenizer& tokenizer, const Decoding& decoding) {
  if (decoding.target_prefix.empty()) return {};
  Ids ids = tokenizer.encode_target_ids(decoding.target_prefix);
  const int32_t first = decoding.search.forced_bos_token_id;
  if (first >= 0) ids.insert(ids.begin(), first);
  return ids;
}

// The tokens that a translation must begin with, which nobody tells of.
Ids forced_start(const Ids& prefix, const decode::SearchOptions& search) {
  if (!prefix.empty() && search.prefix_bias_beta == 0) return prefix;
  return search.forced_bos_token_id >= 0 ? Ids{search.forced_bos_token_id} : Ids();
}

void check_single_lines(const std::vector<Line>& lines, const Decoding& decoding) {
  if (decoding.search.num_hypotheses == 1) return;
  for (const Line& line : lines) {
    if (line.is_last) continue;
    throw Fault(PYTRANSFORMER_ERROR_OPTION,
                "text " + std::to_string(line.text) +
                    " holds a newline; with num_hypotheses above 1, give single lines");
  }
}

std::string completed(const Line& line, const decode::Hypothesis& found,
                      const text::Tokenizer& tokenizer) {
  return line_of(tokenizer, found.ids).append(line.ending);
}

Result join(const std::vector<Line>& lines, std::vector<decode::Translation> translations,
            const text::Tokenizer& tokenizer) {
  Result result;
  std::optional<std::string> text;  // of lines so far
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    if (line.is_last && !text) {
      result.emplace_back();
      for (decode::Hypothesis& found : translations[i]) {
        std::string whole = completed(line, found, tokenizer);
        result.back().push_back({std::move(found), true, std::move(whole), {}, {}});
      }
      continue;
    }
    if (!text) text.emplace();
    *text += completed(line, translations[i].front(), tokenizer);
    if (!line.is_last) {
      *text += '\n';
      continue;
    }
    result.emplace_back().push_back({{}, true, std::move(*text), {}, {}});
    text.reset();
  }
  return result;
}

}  // namespace

Result translate_texts(Translator& translator, std::span<const std::string_view> texts,
                       const Decoding& decoding) {
  const text::Tokenizer& tokenizer = translator.model().tokenizer();
  // An unknown language ends here, even if there is no text.
  const Ids nothing = tokenizer.encode_ids("", decoding.languages);
  Cut all = cut(texts, tokenizer, decoding, nothing);
  check_single_lines(all.lines, decoding);
  const Ids prefix = prefix_of(tokenizer, decoding);
  for (Sentence& sentence : all.sentences) sentence.prefix = prefix;

  Translator::Listener listener;
  std::optional<TextStream> stream;
  if (decoding.on_text != nullptr) {
    stream.emplace(all.lines, decoding, tokenizer, forced_start(prefix, decoding.search));
    if (!stream->begin()) throw decode::Cancelled();
    listener = std::ref(*stream);
  }
  return join(all.lines, translator.run(std::move(all.sentences), nothing, decoding, listener),
              tokenizer);
}

}  // namespace pytransformer::embed
