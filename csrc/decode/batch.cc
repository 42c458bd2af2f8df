#include "decode/batch.h"

#include <algorithm>
#include <utility>

namespace pytransformer::decode {
namespace {

// Rows of one pass of the encoder: enough for the matrix products to run at full speed, few enough
// that what lies between them stays in the cache.
constexpr size_t kEncoderRows = 512;

}  // namespace

int64_t Batch::source_tokens() const {
  int64_t tokens = 0;
  for (const auto& active : active_) tokens += active->cross->source_length();
  return tokens;
}

void Batch::admit(std::vector<Ticket> tickets) {
  size_t begin = 0;
  while (begin < tickets.size()) {
    size_t end = begin + 1;
    size_t rows = tickets[begin].source().size();
    while (end < tickets.size() && rows + tickets[end].source().size() <= kEncoderRows) {
      rows += tickets[end++].source().size();
    }
    encode(std::span(tickets).subspan(begin, end - begin));
    begin = end;
  }
}

void Batch::encode(std::span<Ticket> group) {
  const nn::StackSpec& decoder = model_.spec().decoder;
  const kernels::CacheType type = nn::cache_type(model_.compute_type());
  std::vector<std::span<const int32_t>> sources;
  std::vector<std::unique_ptr<nn::CrossCache>> caches;
  std::vector<nn::CrossCache*> pointers;
  for (const Ticket& ticket : group) {
    sources.emplace_back(ticket.source());
    caches.push_back(std::make_unique<nn::CrossCache>(
        decoder, type, static_cast<int64_t>(ticket.source().size())));
    pointers.push_back(caches.back().get());
  }
  ++profile_.encoder_passes;
  for (const std::span<const int32_t> source : sources) {
    const auto length = static_cast<int64_t>(source.size());
    profile_.encoder_rows += length;
    profile_.encoder_attention_pairs += length * length;
  }
  encoder_.run(sources);
  encoder_.fill(pointers);
  for (size_t i = 0; i < group.size(); ++i) {
    const SearchOptions& options = group[i].job->options();
    active_.push_back(std::make_unique<Active>(
        Active{std::move(group[i]), std::move(caches[i]), Search(options, decoder, type)}));
  }
}

void Batch::gather() {
  rows_.clear();
  sentences_.clear();
  output_.num_candidates = 1;
  output_.want_log_sum = false;
  for (const auto& active : active_) {
    const auto first = static_cast<int64_t>(rows_.size());
    active->search.append_rows(rows_);
    sentences_.push_back(
        {active->cross.get(), &active->search.cache(), first, active->search.live()});
    const int64_t keys = active->cross->source_length();
    profile_.cross_attention_keys += keys * active->search.live();
    profile_.cross_attention_sentence_keys += keys;
    const SearchOptions& options = active->ticket.job->options();
    output_.num_candidates = std::max(output_.num_candidates, Search::candidates_needed(options));
    output_.want_log_sum = output_.want_log_sum || Search::needs_log_sum(options);
  }
}

// What the rows of this step add to the profile.
void Batch::count() {
  ++profile_.steps;
  profile_.step_rows += static_cast<int64_t>(rows_.size());
  for (const nn::StepRow& row : rows_) profile_.self_attention_keys += row.position + 1;
}

void Batch::step() {
  std::erase_if(active_, [](const auto& active) { return active->ticket.job->cancelled(); });
  if (active_.empty()) return;
  gather();
  count();
  decoder_.step(rows_, sentences_, output_);
  advance();
}

void Batch::advance() {
  for (size_t i = 0; i < active_.size(); ++i) {
    Active& active = *active_[i];
    const auto first = static_cast<size_t>(sentences_[i].first_row);
    const auto count = static_cast<size_t>(sentences_[i].rows);
    try {
      active.search.advance(std::span(output_.candidates).subspan(first, count),
                            std::span(output_.log_sum).subspan(first, count));
    } catch (...) {
      // A sentence that fails fails its job; the others go on.
      active.ticket.job->fail(std::current_exception());
      active.ticket.job->cancel();
      continue;
    }
    if (active.search.done()) {
      finished_.push_back({active.ticket, active.search.take_result()});
    }
  }
  std::erase_if(active_, [](const auto& active) {
    return active->search.done() || active->ticket.job->cancelled();
  });
}

void Batch::deliver() {
  for (Finished& done : finished_) {
    done.ticket.job->deliver(done.ticket.index, std::move(done.translation));
  }
  finished_.clear();
}

void Batch::fail(const std::exception_ptr& error) {
  for (const auto& active : active_) active->ticket.job->fail(error);
  active_.clear();
}

}  // namespace pytransformer::decode
