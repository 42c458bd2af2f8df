#include "decode/batch.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace pytransformer::decode {
namespace {

// Rows of one pass of the encoder: enough for the matrix products to run at full speed, few enough
// that what lies between them stays in the cache.
constexpr size_t kEncoderRows = 512;

}  // namespace

int64_t Batch::source_tokens() const {
  int64_t tokens = 0;
  for (const auto& active : active_) {
    tokens += static_cast<int64_t>(active->ticket.source().size());
  }
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
    start(std::span(tickets).subspan(begin, end - begin));
    begin = end;
  }
  // Those that share an output layer stand together, so that it is read once.
  std::stable_sort(active_.begin(), active_.end(), [](const auto& a, const auto& b) {
    return std::less<>()(a->shortlist.get(), b->shortlist.get());
  });
}

void Batch::start(std::span<Ticket> group) {
  const nn::StackSpec& decoder = model_.spec().decoder;
  const kernels::CacheType type = nn::cache_type(model_.compute_type());
  std::vector<std::unique_ptr<nn::CrossCache>> caches(group.size());
  if (model_.spec().has_encoder()) {
    for (size_t i = 0; i < group.size(); ++i) {
      const auto length = static_cast<int64_t>(group[i].source().size());
      caches[i] = std::make_unique<nn::CrossCache>(decoder, type, length);
    }
    encode(group, caches);
  }
  for (size_t i = 0; i < group.size(); ++i) {
    const Request& request = group[i].request();
    auto task = make_task({group[i].job->options(), request, model_.spec(), type, kernels_});
    active_.push_back(std::make_unique<Active>(
        Active{std::move(group[i]), std::move(caches[i]), shortlist(request), std::move(task)}));
  }
}

void Batch::encode(std::span<const Ticket> group,
                   std::span<const std::unique_ptr<nn::CrossCache>> caches) {
  std::vector<std::span<const int32_t>> sources;
  std::vector<nn::CrossCache*> pointers;
  for (size_t i = 0; i < group.size(); ++i) {
    sources.emplace_back(group[i].source());
    pointers.push_back(caches[i].get());
  }
  ++profile_.encoder_passes;
  for (const std::span<const int32_t> source : sources) {
    const auto length = static_cast<int64_t>(source.size());
    profile_.encoder_rows += length;
    profile_.encoder_attention_pairs += length * length;
  }
  encoder_.run(sources);
  encoder_.fill(pointers);
}

// Sentences with the same list of tokens share the output layer made for it.
std::shared_ptr<const nn::Shortlist> Batch::shortlist(const Request& request) const {
  if (request.allowed == nullptr) return nullptr;
  for (const auto& active : active_) {
    if (active->ticket.request().allowed == request.allowed) return active->shortlist;
  }
  return std::make_shared<const nn::Shortlist>(model_.output(), *request.allowed);
}

void Batch::gather() {
  rows_.clear();
  sentences_.clear();
  output_.num_candidates = 1;
  output_.want_log_sum = false;
  for (const auto& active : active_) {
    const auto first = static_cast<int64_t>(rows_.size());
    Task& task = *active->task;
    task.append_rows(rows_);
    const int64_t rows = static_cast<int64_t>(rows_.size()) - first;
    sentences_.push_back({active->cross.get(), &task.cache(), first, rows, active->shortlist.get(),
                          task.attention()});
    const int64_t keys = active->cross == nullptr ? 0 : active->cross->source_length();
    profile_.cross_attention_keys += keys * rows;
    profile_.cross_attention_sentence_keys += keys;
    output_.num_candidates = std::max(output_.num_candidates, task.candidates_needed());
    output_.want_log_sum = output_.want_log_sum || task.needs_log_sum();
  }
}

// What the rows of this step add to the profile.
void Batch::count() {
  ++profile_.steps;
  profile_.step_rows += static_cast<int64_t>(rows_.size());
  for (const nn::StepRow& row : rows_) profile_.self_attention_keys += row.position + 1;
}

// Ends what callers no longer want: whole jobs, or single sentences where they are. There are also
// tasks that have nothing to do.
void Batch::stop_and_drop() {
  for (const auto& active : active_) {
    if (active->ticket.job->cancelled()) continue;
    const int32_t tokens = active->ticket.job->stops_after(active->ticket.index);
    if (tokens >= 0) active->task->stop(tokens);
    if (active->task->done()) conclude(*active);
  }
  drop();
}

void Batch::drop() {
  std::erase_if(active_, [](const auto& active) {
    return active->task->done() || active->ticket.job->cancelled();
  });
}

// Tells of what became certain, and takes the result if there is one. A sentence that fails fails
// its job; the others go on.
void Batch::conclude(Active& active) {
  try {
    if (active.ticket.job->options().stream) tell(active);
    if (active.task->done()) finished_.push_back({active.ticket, active.task->take_result()});
  } catch (...) {
    fail(active);
  }
}

void Batch::fail(const Active& active) {
  active.ticket.job->fail(std::current_exception());
  active.ticket.job->cancel();
}

void Batch::step() {
  stop_and_drop();
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
      active.task->advance(std::span(output_.candidates).subspan(first, count),
                           std::span(output_.log_sum).subspan(first, count));
    } catch (...) {
      fail(active);
      continue;
    }
    conclude(active);
  }
  drop();
}

void Batch::tell(const Active& active) {
  std::vector<TokenEvent> events = active.task->take_events();
  if (active.task->done()) events.push_back({0, 0, -1, 0.0f, true});
  for (TokenEvent& event : events) event.sentence = active.ticket.index;
  if (!events.empty()) active.ticket.job->tell(std::move(events));
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
